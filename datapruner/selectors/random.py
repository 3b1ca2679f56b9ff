"""Keep a random sample, drawn from the rows' uids and `seed`; scores are not looked at.

A row's draw hangs on nothing else, so that a smaller keep_ratio keeps a subset of what a larger one keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector


@dataclass(frozen=True)
class Random(Selector):
    """Rule: n rows drawn by a hash of uid and seed; the baseline."""

    reads: ClassVar[str] = "uids"
    direction: ClassVar[str] = "none"
    cost: ClassVar[str] = "a hash a row: O(N)"
    needs_scores: ClassVar[bool] = False
    nested: ClassVar[bool] = True

    def choose(self, candidates: Candidates, n: int) -> Choice:
        return Choice(ranking.lowest(candidates.lots(self.seed), n))

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        return np.zeros(len(candidates), dtype=np.int8), [f"not drawn by random with seed {self.seed}"]
