"""Rows that span the most volume: greedy MAP of a determinantal point process (Chen et al. 2018, arXiv:1709.05135).

    L_ij = q_i cos(x_i, x_j) q_j,    each pick is the row that adds most to log det L

What a row adds is the log of what the picks leave unexplained of it: the larger, the less redundant. Published code
takes what they do explain, and picks the most redundant. Picks come in an order: a smaller keep_ratio keeps a subset
of what a larger one keeps. Scores are looked at only where `quality` names their column; q must be at least 0.
Memory 4 n N bytes for the n rows of the factor, time 2 n N d + 2 n^2 N FLOP: for hundreds of picks, not many thousands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.selection.candidates import Candidates
from datapruner.selectors._columns import numbers, points
from datapruner.selectors._picks import PickingSelector, Picks
from prunekernels import dpp_map


@dataclass(frozen=True)
class LogDeterminant(PickingSelector):
    """Paper: Chen et al. 2018 (arXiv:1709.05135); rows that span the most volume in `features`, weighted by `quality`.

    `quality` is a column of numbers of at least 0; all rows are equally good where it is empty.
    """

    quality: str = ""

    reads: ClassVar[str] = "vectors; another column as quality, where named"
    direction: ClassVar[str] = "none: the most volume"
    cost: ClassVar[str] = "2 n N d + 2 n^2 N FLOP, 4 n N bytes"
    because: ClassVar[str] = "adds less volume in {features} than the {n} rows that are kept"

    def picks(self, candidates: Candidates, order: np.ndarray, n: int) -> Picks:
        strength = numbers(candidates, self.quality)[order] if self.quality else np.ones(len(order))
        vectors = points(candidates, self.features, order)
        return Picks(dpp_map.dpp_map(vectors, torch.from_numpy(strength.astype(np.float32)), n).numpy())
