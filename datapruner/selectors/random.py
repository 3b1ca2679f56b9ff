"""Keep a random sample, drawn from the rows' uids and `seed`; scores are not looked at.

A row's draw hangs on nothing else, so that a smaller keep_ratio keeps a subset of what a larger one keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.selector import Candidates, Selector
from prunekernels import select


@dataclass(frozen=True)
class Random(Selector):
    """Rule: n rows drawn by a hash of uid and seed; the baseline."""

    needs_scores: ClassVar[bool] = False

    def choose(self, candidates: Candidates, n_keep: Sequence[int]) -> torch.Tensor:
        # the base has put the rows in the order of that hash: the first ones are a draw
        place = torch.arange(len(candidates), dtype=torch.float64)
        return select.bottom(place, n_keep, candidates.group_ids)

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, list[str]]:
        return np.zeros(len(candidates), dtype=np.int64), [f"not drawn by random with seed {self.seed}"]
