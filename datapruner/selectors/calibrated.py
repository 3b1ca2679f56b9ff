"""Part by score, part by lot (Ayed and Hayou 2023, arXiv:2302.06960): the score's bias is mended by the rest.

Of n rows m = floor(alpha n) go by the ranking rule with weight 1; the n - m others are drawn evenly from the N - m
that are left, with weight (N - m) / (n - m). A weighted sum over the kept rows has that over all rows as its
expectation; the weights add up to N. A smaller keep_ratio keeps a subset of what a larger one keeps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.uids import splitmix64
from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector

RULES = {"top": ranking.highest, "bottom": ranking.lowest, "middle": ranking.middle}


@dataclass(frozen=True)
class Calibrated(Selector):
    """Paper: Ayed and Hayou 2023 (arXiv:2302.06960); alpha of the rows by a rule, the others drawn, with weights."""

    alpha: float = 0.5
    rule: Literal["top", "bottom", "middle"] = "top"

    reads: ClassVar[str] = "scores"
    direction: ClassVar[str] = "that of its rule, and a draw"
    cost: ClassVar[str] = "a partition and a draw: O(N)"
    nested: ClassVar[bool] = True

    def check(self) -> None:
        if not 0 <= self.alpha < 1 or self.rule not in RULES:
            raise ValueError(
                f"calibrated wants alpha in [0, 1) and a rule of {', '.join(RULES)}, got {self.alpha} and {self.rule!r}"
            )

    def choose(self, candidates: Candidates, n: int) -> Choice:
        n_rows, by_score = len(candidates), math.floor(self.alpha * n + 1e-9)
        weights = np.zeros(n_rows, dtype=np.float32)
        kept = RULES[self.rule](candidates.scores, by_score, partial(candidates.lots, self.seed))
        weights[kept] = 1
        if by_score < n:
            rest = np.flatnonzero(~kept)
            # mixed once more: a tie at the cut must not decide who is drawn
            lots = splitmix64(candidates.lots(self.seed, rest), 1)
            drawn = rest[ranking.lowest(lots, n - by_score)]
            kept[drawn] = True
            weights[drawn] = (n_rows - by_score) / (n - by_score)
        text = f"neither among the {by_score} of rule {self.rule} by {candidates.by} nor drawn from the others"
        return Choice(kept, np.zeros(n_rows, dtype=np.int8), [text], weights)
