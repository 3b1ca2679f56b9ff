"""Facility location: rows that stand in for all the others, with CRAIG's weights (Mirzasoleiman et al. 2020).

    f(S) = sum_i max_{j in S} (1 + cos(x_i, x_j)) / 2,    each pick is the row that adds most
    weight of j = the number of rows whose nearest kept row is j

The weights add up to N (arXiv:1906.01827): a weighted sum over the kept rows stands for that over all. Picks come
in an order: a smaller keep_ratio keeps a subset of what a larger one keeps. Scores are not looked at.

The picks are the core's lazy greedy: up to 8,192 rows all cosines are kept (256 MiB), beyond that memory is O(N)
beside the vectors. A pick costs some evaluations of 2 N d FLOP; the weights 2 N n d, a block at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.selection.candidates import Candidates
from datapruner.selectors._columns import points
from datapruner.selectors._picks import PickingSelector, Picks
from prunekernels import facility_location

# cosines that are made at a time (16 MiB)
BLOCK_PAIRS = 2**22


@dataclass(frozen=True)
class FacilityLocation(PickingSelector):
    """Paper: Mirzasoleiman et al. 2020, CRAIG (arXiv:1906.01827); rows near to all others in `features`, with weights.

    A row's weight is the number of rows that it is the nearest kept one of, itself among them.
    """

    direction: ClassVar[str] = "none: near to all others"
    cost: ClassVar[str] = "2 N d FLOP an evaluation, a few a pick; up to 8,192 rows 2 N^2 d once; weights 2 N n d"
    because: ClassVar[str] = "stood for in {features} by the {n} rows that are kept"
    gives_weights: ClassVar[bool] = True

    def picks(self, candidates: Candidates, order: np.ndarray, n: int) -> Picks:
        unit = points(candidates, self.features, order, is_unit=True)
        found = facility_location.facility_location(unit, n).picks
        return Picks(found.numpy(), _represented(unit, found))


def _represented(unit: torch.Tensor, picks: torch.Tensor) -> np.ndarray:
    """For each of `picks` [n] how many of the rows `unit` [N, d] are nearest to it, int64 [n]."""
    kept = unit[picks].T
    height = min(len(unit), max(1, BLOCK_PAIRS // len(picks)))
    # one block for all turns, or the heap grows by one a turn
    products = torch.empty(height, len(picks))
    nearest = torch.empty(len(unit), dtype=torch.int64)
    for start in range(0, len(unit), height):
        block = unit[start : start + height]
        torch.argmax(torch.mm(block, kept, out=products[: len(block)]), 1, out=nearest[start : start + height])
    # a pick stands for itself, also where an equal row was picked before it
    nearest[picks] = torch.arange(len(picks))
    return torch.bincount(nearest, minlength=len(picks)).numpy()
