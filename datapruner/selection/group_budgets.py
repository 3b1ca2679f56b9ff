"""How many rows each group keeps: its share of a budget in rows, or what its share in tokens buys."""

from __future__ import annotations

import numpy as np

from datapruner.scoring.manifest import ROWS
from datapruner.selection.budgets import Budget, Per, as_budget
from datapruner.selection.candidates import Candidates
from datapruner.selection.groups import Groups
from datapruner.selection.selector import Selector


def group_counts(
    rule: Selector,
    candidates: Candidates,
    keep_ratio: float | Budget | None,
    per: Per | None,
    groups: Groups | None,
) -> list[int]:
    """The exact count of each group, one of all where there are none."""
    per, names = per or Per(""), ("",) if groups is None else groups.names
    sizes = [len(candidates)] if groups is None else groups.sizes()
    if per.counts is not None:
        return per.given_counts(names, sizes)
    budget = as_budget(keep_ratio or 0)
    if not budget.counts_tokens:
        return per.share_out(budget.amount(len(candidates)), names, sizes)
    tokens = _tokens(candidates, budget)
    costs = [int(tokens.sum(dtype=np.int64))] if groups is None else groups.sizes(tokens)
    amount = budget.amount(sum(costs))
    shares = per.share_out(amount, names, costs)
    if groups is None:
        counts = [rows_for_tokens(rule, candidates, tokens, amount)]
    else:
        counts = [
            rows_for_tokens(rule, candidates.take(members), tokens[members], share)
            for members, share in zip(groups.members(), shares, strict=True)
        ]
    if len(candidates) and not any(counts):
        raise ValueError(f"want a budget that keeps at least one row, got {amount} tokens")
    return counts


def _tokens(candidates: Candidates, budget: Budget) -> np.ndarray:
    """What each row costs, int64 [n]."""
    if budget.counted_by is None:
        return candidates.field(ROWS, "tokens")
    costs = candidates.field(budget.counted_by, "score")
    wrong = (costs < 0) | (costs != np.floor(costs))
    if wrong.any():
        raise ValueError(f"want whole numbers of tokens in {budget.counted_by!r}, got {costs[wrong][0]}")
    return costs.astype(np.int64)


def rows_for_tokens(rule: Selector, candidates: Candidates, tokens: np.ndarray, most: int) -> int:
    """The largest count for which what `rule` keeps has at most `most` of the `tokens` int64 [n].

    Where the rule is not nested, a count that fits and whose next does not. The count is guessed in proportion
    to the tokens, and every other time halved: few trials where rows are much alike, and never many.
    """
    enough, bought = 0, 0
    too_many = rule.most(len(candidates))
    cost = _cost(rule, candidates, tokens, too_many)
    if cost <= most:
        return too_many
    halve = False
    while too_many - enough > 1:
        inside = too_many - enough - 1
        share = 0.5 if halve else (most - bought) / (cost - bought)
        trial = enough + 1 + min(inside - 1, max(0, round(share * inside)))
        spent = _cost(rule, candidates, tokens, trial)
        if spent <= most:
            enough, bought = trial, spent
        else:
            too_many, cost = trial, spent
        # a guess that leaves the larger part undecided was a bad one
        halve = not halve and 2 * (too_many - enough) > inside
    return enough


def _cost(rule: Selector, candidates: Candidates, tokens: np.ndarray, n: int) -> int:
    return int(tokens[rule.choose(candidates, n).kept].sum(dtype=np.int64))
