"""Keep every row whose score lies in [minimum, maximum], both ends included; how many that is, the scores decide.

A filter: followed by a ranking (`within`) it gives an exact count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector


@dataclass(frozen=True)
class Threshold(Selector):
    """Rule: minimum <= score <= maximum, as many rows as that are."""

    minimum: float | None = None
    maximum: float | None = None

    reads: ClassVar[str] = "scores"
    direction: ClassVar[str] = "high, low or between, by its fields"
    cost: ClassVar[str] = "a comparison a row: O(N)"
    counts: ClassVar[bool] = False
    score_only: ClassVar[bool] = True

    def check(self) -> None:
        low, high = self._range()
        if not low <= high:
            raise ValueError(f"threshold wants minimum <= maximum, got {low} and {high}")

    def ranked(self) -> str | None:
        if (self.minimum is None) == (self.maximum is None):
            return None
        return "bottom" if self.minimum is None else "top"

    def choose(self, candidates: Candidates, n: int) -> Choice:
        low, high = self._range()
        return Choice((candidates.scores >= low) & (candidates.scores <= high))

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        low, high = self._range()
        texts = [f"{candidates.by} below the minimum {low:g}", f"{candidates.by} above the maximum {high:g}"]
        return (candidates.scores > high).view(np.int8), texts

    def _range(self) -> tuple[float, float]:
        # in float32, as the scores are: a score that reads 0.7 is not below a minimum of 0.7
        low = -math.inf if self.minimum is None else float(np.float32(self.minimum))
        high = math.inf if self.maximum is None else float(np.float32(self.maximum))
        return low, high
