"""Evenly spaced tokens: the uniform grid, a baseline that keeps the layout of the picture.

On a grid of patches a constant step along the sequence would hit the same columns in every line. So lines and
columns are spaced apart from each other: the kept tokens are shared out over r lines, with r near the number
that makes cells square, each line takes its share, and each token stands in the middle of its stretch. Without
a grid the spacing is along the sequence: token floor((2 i + 1) N / 2 n).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tokenpruner.base.before_decoder import Context, Method
from tokenpruner.methods import _even_cells
from tokenpruner.methods._even_cells import centres
from tokenpruner.models.image_layouts import Grid


@dataclass(frozen=True)
class Stride(Method):
    """Rule: centres of equal stretches, in two dimensions where the grid is known."""

    cost: ClassVar[str] = "nothing: places alone"

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """Exactly `n` tokens: lines that cannot be equal differ by one."""
        picks = [view.first + _spread(view.n, view.grid) for view in _even_cells.views(n, context)]
        return torch.cat(picks).to(context.visual.device)


def _spread(n: int, grid: Grid) -> torch.Tensor:
    """`n` tokens of one grid."""
    height, width = grid
    counts = _even_cells.lines(n, grid)
    middles = centres(len(counts), height)
    return torch.cat([line * width + centres(count, width) for line, count in zip(middles, counts, strict=True)])
