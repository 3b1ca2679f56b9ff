"""What a rule decides about rows that compete, of one score table or of several as if they were one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from datapruner.selection import ranking
from datapruner.selection.budgets import Budget, Per
from datapruner.selection.candidates import CandidateColumns, Candidates
from datapruner.selection.group_budgets import group_counts
from datapruner.selection.groups import Groups, smallest_type
from datapruner.selection.selector import Selector


class TableRows(CandidateColumns, Protocol):
    """All rows of one or more score tables."""

    @property
    def n_rows(self) -> int:
        """How many there are."""
        ...

    def scores(self, column: str) -> np.ndarray:
        """The scores of `column`, float32 [n], NaN for rows that were not scored; raises where there is no such."""
        ...

    def has_every_row(self, column: str) -> bool:
        """Whether `column` has a score for every row."""
        ...

    def groups_by(self, column: str) -> Groups:
        """The groups of all rows by the group field or column `column`; raises where there is no such."""
        ...


@dataclass(frozen=True)
class Question:
    """What is asked of a rule: by which columns, each with its weight, how many rows, in which groups."""

    rule: Selector
    ranks: Mapping[str, float]
    keep_ratio: float | Budget | None
    per: Per | None

    @property
    def by(self) -> str | None:
        """The one column, or the sum of ranks in words; None where no score is looked at."""
        if not self.ranks:
            return None
        return next(iter(self.ranks)) if self.is_single else sum_text(self.ranks)

    @property
    def is_single(self) -> bool:
        """Whether one column is ranked by as it is."""
        return [*self.ranks.values()] == [1.0]


@dataclass(frozen=True, eq=False)
class Decision:
    """For all rows: the number of a reason in `reasons`, -1 for what is kept or did not compete; scores and weights.

    `scores` are the columns that were looked at and, where ranks were summed, the sum (NaN where none was taken);
    `n_rows` competed, `n_kept` of them are kept.
    """

    codes: np.ndarray
    reasons: tuple[str, ...]
    scores: dict[str, np.ndarray]
    weights: np.ndarray | None
    n_rows: int
    n_kept: int


def decide(question: Question, rows: TableRows, asked: np.ndarray | None) -> Decision:
    """Let the rows `asked` int64 (None: all) compete; those that have no score are dropped for it."""
    rule, per = question.rule, question.per
    scores = {name: rows.scores(name) for name in question.ranks}
    at = _scored(rows, scores, asked)
    groups = None if per is None else rows.groups_by(per.column)
    if groups is not None and at is not None:
        groups = groups.take(at)
    candidates = _candidates(question, rows, scores, groups, at)
    if rule.counts:
        counts = group_counts(rule, candidates, question.keep_ratio, per, groups)
    else:
        counts = [0] * (1 if groups is None else len(groups.names))
    outcome = rule.select(candidates, counts, groups)
    n_kept = int(np.count_nonzero(outcome.codes < 0))
    codes, reasons = scatter(outcome.codes, at, rows.n_rows, -1), outcome.reasons
    if len(question.ranks) > 1:
        scores[candidates.by] = scatter(candidates.scores, at, rows.n_rows, np.nan)
    if at is not asked:
        codes, reasons = _without_score(codes, reasons, question, at, asked)
    n_asked = rows.n_rows if asked is None else len(asked)
    weights = None if outcome.weights is None else scatter(outcome.weights, at, rows.n_rows, 0)
    return Decision(codes, reasons, scores, weights, n_asked, n_kept)


def scatter(values: np.ndarray, at: np.ndarray | None, n_rows: int, elsewhere: float) -> np.ndarray:
    """`values` of the rows `at` among all rows, `elsewhere` for the others."""
    if at is None:
        return values
    scattered = np.full(n_rows, elsewhere, dtype=values.dtype)
    scattered[at] = values
    return scattered


def sum_text(ranks: Mapping[str, float]) -> str:
    """A weighted sum of ranks in words, as in "0.5 rank(length) - 1 rank(perplexity)"."""
    terms = [f"{'-' if weight < 0 else '+'} {abs(weight):g} rank({name})" for name, weight in ranks.items()]
    text = " ".join(terms)
    return text[2:] if text[0] == "+" else f"-{text[2:]}"


def _scored(rows: TableRows, scores: Mapping[str, np.ndarray], asked: np.ndarray | None) -> np.ndarray | None:
    """Those of `asked` that have all `scores`; `asked` itself where that are all."""
    partly = [values for name, values in scores.items() if not rows.has_every_row(name)]
    if not partly:
        return asked
    known = ~np.isnan(partly[0])
    for values in partly[1:]:
        known &= ~np.isnan(values)
    found = np.flatnonzero(known) if asked is None else asked[known[asked]]
    if not len(found):
        raise ValueError(f"want rows with scores in {', '.join(scores)}, got none among those that compete")
    return asked if len(found) == (rows.n_rows if asked is None else len(asked)) else found


def _without_score(
    codes: np.ndarray, reasons: tuple[str, ...], question: Question, at: np.ndarray | None, asked: np.ndarray | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Drop what was asked and did not compete."""
    missing = np.ones(len(codes), dtype=bool)
    if asked is not None:
        missing = np.zeros(len(codes), dtype=bool)
        missing[asked] = True
    if at is not None:
        missing[at] = False
    codes = codes.astype(smallest_type(max(1, len(reasons) + 1), signed=True))
    codes[missing] = len(reasons)
    return codes, (*reasons, f"no score in {' or '.join(question.ranks)}")


def _candidates(
    question: Question,
    rows: TableRows,
    scores: Mapping[str, np.ndarray],
    groups: Groups | None,
    at: np.ndarray | None,
) -> Candidates:
    taken = {name: values if at is None else values[at] for name, values in scores.items()}
    n_rows = rows.n_rows if at is None else len(at)
    if not taken:
        # a view of a single 0
        return Candidates(np.broadcast_to(np.float32(0), n_rows), rows, at)
    if question.is_single:
        ((name, values),) = taken.items()
        return Candidates(values, rows, at, name)
    total = np.zeros(n_rows)
    for name, values in taken.items():
        for members in [slice(None)] if groups is None else groups.members():
            total[members] += question.ranks[name] * ranking.rank(values[members])
    # as float32 sums that differ by rounding alone tie, as they should
    return Candidates(total.astype(np.float32), rows, at, sum_text(question.ranks))
