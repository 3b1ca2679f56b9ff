"""PixelPrune (Wang et al. 2026, arXiv:2604.00886): patches that their neighbours predict leave before the tower.

    C B     the cell X is predicted by A, the one on its left; by B above it where C, above A, is within tau of A and
    A X     not of B: the picture has an edge between columns. In the first line by A, in the first column by B
    keep    X where it differs from what is predicted by more than tau, in the largest of its pixels

Neighbours that have gone are taken as what stood in for them, so that errors do not add up: every cell is within tau of
the one that is seen in its place. tau is in the units of `pixel_values`, where 1 is one standard deviation of the
processor: 2 for a whole scale of 0 to 1 with Qwen3-VL, about 3.7 with CLIP's and Qwen2-VL's. With tau = 0 only equal
patches leave, of pages and screens one to four fifths. How many stay is up to the picture. In a video each frame is a
picture of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from tokenpruner.base.before_tower import PixelMethod


@dataclass(frozen=True)
class PixelDuplicates(PixelMethod):
    """Paper: Wang et al. 2026, PixelPrune (arXiv:2604.00886); patches leave that neighbours predict within tau."""

    tau: float = 0.0

    cost: ClassVar[str] = "three passes over the pixels, in H + W steps"
    published_count: ClassVar[str] = "the data decides: 22 to 71 % of pages and screens at tau = 0"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.tau, bool) or not isinstance(self.tau, int | float) or not 0 <= self.tau < math.inf:
            raise ValueError(f"want tau as a number of at least 0, got {self.tau!r}")

    def sources(self, cells: torch.Tensor) -> torch.Tensor:
        """Cells of one diagonal after another: each hangs on three of the two before."""
        frames, height, width, _ = cells.shape
        flat = cells.flatten(1, 2)
        found = torch.zeros(frames, height * width, dtype=torch.int64, device=cells.device)
        for diagonal in range(1, height + width - 1):
            rows = torch.arange(max(0, diagonal - width + 1), min(height, diagonal + 1), device=cells.device)
            columns = diagonal - rows
            left = rows * width + (columns - 1).clamp(min=0)
            above = (rows - 1).clamp(min=0) * width + columns
            corner = (rows - 1).clamp(min=0) * width + (columns - 1).clamp(min=0)
            by_left, by_above, by_corner = (found[:, places] for places in (left, above, corner))
            like_left = self._alike(flat, by_corner, by_left)
            like_above = self._alike(flat, by_corner, by_above)
            inside = (rows > 0) & (columns > 0)
            takes_above = torch.where(inside, like_left & ~like_above, columns == 0)
            predicted = by_above.where(takes_above, by_left)
            own = (rows * width + columns).expand(frames, -1)
            found[:, own[0]] = predicted.where(self._alike(flat, own, predicted), own)
        return found.unflatten(1, (height, width))

    def _alike(self, flat: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Whether the cells `one` and `other` [F, K] of `flat` [F, N, V] are within tau; NaN is like nothing."""
        frames = torch.arange(len(flat), device=flat.device)[:, None]
        return (flat[frames, one] - flat[frames, other]).abs().amax(-1) <= self.tau
