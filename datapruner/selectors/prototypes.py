"""Prototypes of Sorscher et al. 2022 (arXiv:2206.14486): hard rows where data is plenty, easy ones where it is scarce.

The score is a distance to the own prototype, as prototypicality gives it: high is hard. Every class keeps the
floor(balance n / K) first of its rows (all it has, where it has fewer), as the paper does against the imbalance
that each such score amplifies; the rest of the n goes to the first of all rows that are left. With `end` auto the
easy rows are kept where n is under `scarce` of all, since there hard rows do worse than a draw. Nothing is nested:
quotas move with n, and the end may change. Memory O(N), time a partition for each class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector
from datapruner.selectors._columns import class_ids


@dataclass(frozen=True)
class Prototypes(Selector):
    """Paper: Sorscher et al. 2022 (arXiv:2206.14486); hard or easy rows, `balance` of them in even class quotas.

    `classes` is the column with the classes; with `end` auto, easy rows are kept where n is under `scarce` of all.
    """

    end: Literal["auto", "hard", "easy"] = "auto"
    classes: str = "prototypicality/cluster"
    balance: float = 0.5
    scarce: float = 0.2

    reads: ClassVar[str] = "scores and classes"
    direction: ClassVar[str] = "high (hard) or low (easy)"
    cost: ClassVar[str] = "a partition for each class and one of the rest: O(N)"
    nested: ClassVar[bool] = False

    def check(self) -> None:
        if self.end not in ("auto", "hard", "easy") or not 0 <= self.balance <= 1 or not 0 <= self.scarce <= 1:
            raise ValueError(
                f"prototypes wants end auto, hard or easy, balance and scarce in [0, 1], "
                f"got {self.end!r}, {self.balance} and {self.scarce}"
            )

    def default_by(self) -> str | None:
        return "prototypicality"

    def choose(self, candidates: Candidates, n: int) -> Choice:
        # the first rows are the highest: where easy ones are wanted the score is turned around
        hardness = candidates.scores if self._is_hard(n, len(candidates)) else -candidates.scores
        ids, n_classes = class_ids(candidates, self.classes)
        quota = math.floor(self.balance * n / max(1, n_classes) + 1e-9)
        sizes = np.bincount(ids, minlength=n_classes)
        lots = partial(candidates.lots, self.seed)
        kept = ranking.highest_of_each(hardness, ids, np.minimum(sizes, quota).tolist(), lots)
        rest = np.flatnonzero(~kept)
        missing = n - int(np.count_nonzero(kept))
        kept[rest[ranking.highest(hardness[rest], missing, lambda tied: lots(rest[tied]))]] = True
        return Choice(kept)

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        n = int(np.count_nonzero(kept))
        end = "hardest" if self._is_hard(n, len(kept)) else "easiest"
        text = f"neither in the quota of its class nor among the {end} of the rest by {candidates.by}"
        return np.zeros(len(candidates), dtype=np.int8), [text if n else "its share is 0 rows"]

    def _is_hard(self, n: int, n_rows: int) -> bool:
        return self.end == "hard" or (self.end == "auto" and n >= self.scarce * n_rows)
