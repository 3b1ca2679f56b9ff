"""What one pass of a vision tower came to that was given fewer patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tokenpruner.models.image_layouts import Grid
from tokenpruner.report.timing import Stopwatch


@dataclass(frozen=True)
class TowerUse:
    """`entered` bool [S] says of each patch, in the order of the blocks, whether it was seen.

    FLOPs are those of the blocks, of all patches and of those that were seen. Of pictures of one size `shape` has their
    number and the patches of each, and `grid` its rows and columns.
    """

    entered: torch.Tensor
    flops_before: int
    flops_after: int
    selection: Stopwatch
    shape: tuple[int, ...] = ()
    grid: Grid | None = None
