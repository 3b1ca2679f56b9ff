"""Which rows each candidate keeps at each budget, for each replicate; and the draws that it is held against.

A draw spends what the selection spends: as many rows, or as many tokens. A ratio is of the whole corpus, whatever steps
stand before the one that keeps it; where these leave less than that, all of it is kept, and the draw has more.
Rows come by lots, which hang on their uids and the seed of selection; with strata each gives its share of the whole,
exactly (`budget.allocate`). Where tokens are spent, rows are taken as they come as long as they fit.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datapruner.corpus.uids import hash64, splitmix64
from datapruner.evaluation.corpus_rows import Corpora
from datapruner.evaluation.settings import Candidate, Evaluation
from datapruner.recipe.recipe import Rule
from datapruner.recipe.steps import select_in_steps
from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.budgets import Budget
from datapruner.selection.select import as_selector, select
from datapruner.selection.selection import Selection
from prunekernels import budget


@dataclass(frozen=True, eq=False)
class Kept:
    """Rows that are kept, int64 ascending, perhaps weights float32 [n_rows], and what they spend of the budget."""

    rows: np.ndarray
    weights: np.ndarray | None
    spent: int


def keep(evaluation: Evaluation, candidate: Candidate, ratio: float | None, table: ScoreTable, seed: int) -> Kept:
    """What `candidate` keeps at `ratio`, None where its last step decides that itself; selectors draw by `seed`."""
    *first, last = (_seeded(step, seed) for step in candidate.steps)
    with warnings.catch_warnings():
        # that so little is kept is what is looked into
        warnings.simplefilter("ignore", UserWarning)
        selection = select_in_steps(table, first) if first else None
        if selection is None or selection.n_kept:
            budgeted = _budget(evaluation, table, ratio, selection)
            selection = select(table, last.selector, last.by, budgeted, last.per, selection)
    if not selection.n_kept:
        raise ValueError(f"{candidate.name}: want rows to train on, it keeps none")
    weights = None if selection.weights is None or not candidate.weighted else _mean_one(selection.weights)
    return Kept(selection.kept, weights, spent(evaluation, table, selection.kept))


def spent(evaluation: Evaluation, table: ScoreTable, rows: np.ndarray) -> int:
    """What `rows` take of the budget: rows, or tokens."""
    return len(rows) if evaluation.budget == "rows" else int(table.read("rows", "tokens").to_numpy()[rows].sum())


def amount(evaluation: Evaluation, total: int, ratio: float) -> int:
    """The rows or tokens that are kept at `ratio` of the `total`."""
    return budget.n_keep(total, ratio) if evaluation.budget == "rows" else math.floor(total * ratio + 1e-9)


def draw(evaluation: Evaluation, corpora: Corpora, total: int, seed: int, strata: Sequence[str] | None = None) -> Kept:
    """Rows drawn at random that spend `total`; of each of `strata` its share."""
    sizes = np.ones(len(corpora.train), np.int64) if evaluation.budget == "rows" else corpora.tokens
    # other lots than those of the selectors, whose draws would else be the same rows
    order = np.argsort(splitmix64(splitmix64(hash64(corpora.train.uids), seed), 2), kind="stable")
    if strata is None:
        parts = [(order, total)]
    else:
        names, ids = np.unique(np.asarray(strata), return_inverse=True)
        whole = [int(sizes[ids == number].sum()) for number in range(len(names))]
        shares = budget.allocate(total, whole, [float(size) for size in whole]).tolist()
        parts = [(order[ids[order] == number], share) for number, share in enumerate(shares)]
    rows = np.sort(np.concatenate([_fitting(some, sizes, share) for some, share in parts]))
    if not len(rows):
        raise ValueError(f"want a budget that some row fits into, got {total} tokens")
    return Kept(rows, None, int(sizes[rows].sum()))


def _fitting(order: np.ndarray, sizes: np.ndarray, total: int) -> np.ndarray:
    """The first of `order` that fit, and then whichever still fits."""
    taken = np.cumsum(sizes[order]) <= total
    left = total - int(sizes[order[taken]].sum())
    more = []
    for row in order[~taken].tolist() if left else ():
        if sizes[row] <= left:
            more.append(row)
            left -= int(sizes[row])
    return np.concatenate([order[taken], np.array(more, np.int64)])


def _budget(evaluation: Evaluation, table: ScoreTable, ratio: float | None, left: Selection | None) -> Budget | None:
    """What the last step may spend of the rows that are `left`, None for all; None where its rule decides."""
    if ratio is None:
        return None
    n = amount(evaluation, spent(evaluation, table, np.arange(table.n_rows)), ratio)
    n = n if left is None else min(n, spent(evaluation, table, left.kept))
    return Budget(rows=n) if evaluation.budget == "rows" else Budget(tokens=n)


def _seeded(step: Rule, seed: int) -> Rule:
    """`step` with the selector's seed moved on by `seed`, so that the first replicate is what `select` does."""
    if step.selector is None:
        return step
    rule = as_selector(step.selector)
    return dataclasses.replace(step, selector=dataclasses.replace(rule, seed=rule.seed + seed))


def _mean_one(weights: np.ndarray) -> np.ndarray:
    kept = weights[weights > 0]
    return (weights / kept.mean()).astype(np.float32)
