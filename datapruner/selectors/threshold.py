"""Keep every row whose score lies in [minimum, maximum], both ends included; how many that is, the scores decide.

A filter: followed by a ranking (`within`) it gives an exact count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.selector import Candidates, Selector
from prunekernels import select


@dataclass(frozen=True)
class Threshold(Selector):
    """Rule: minimum <= score <= maximum, as many rows as that are."""

    minimum: float | None = None
    maximum: float | None = None

    counts: ClassVar[bool] = False

    def choose(self, candidates: Candidates, n_keep: Sequence[int]) -> torch.Tensor:
        low, high = self._range()
        return select.threshold(candidates.scores, low, high)

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, list[str]]:
        low, high = self._range()
        texts = [f"{candidates.by} below the minimum {low:g}", f"{candidates.by} above the maximum {high:g}"]
        return (candidates.scores.numpy() > high).astype(np.int64), texts

    def _range(self) -> tuple[float, float]:
        # in float32, as the scores are: a score that reads 0.7 is not below a minimum of 0.7
        low = -math.inf if self.minimum is None else float(np.float32(self.minimum))
        high = math.inf if self.maximum is None else float(np.float32(self.maximum))
        if not low <= high:
            raise ValueError(f"threshold wants minimum <= maximum, got {low} and {high}")
        return low, high
