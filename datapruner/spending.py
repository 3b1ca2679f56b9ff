"""How many rows of a group a budget of tokens buys."""

from __future__ import annotations

import numpy as np

from datapruner.candidates import Candidates
from datapruner.selector import Selector


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
