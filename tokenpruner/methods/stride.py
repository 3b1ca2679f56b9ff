"""Evenly spaced tokens: the uniform grid, a baseline that keeps the layout of the picture.

On a grid of patches a constant step along the sequence would hit the same columns in every line. So lines and
columns are spaced apart from each other: the kept tokens are shared out over r lines, with r near the number
that makes cells square, each line takes its share, and each token stands in the middle of its stretch. Without
a grid the spacing is along the sequence: token floor((2 i + 1) N / 2 n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from tokenpruner.method import Context, Method
from tokenpruner.spatial import centres


@dataclass(frozen=True)
class Stride(Method):
    """Centres of equal stretches, in two dimensions where the grid is known."""

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """Exactly `n` tokens: lines that cannot be equal differ by one."""
        device = context.visual.device
        if context.grid is None:
            return centres(n, context.size).to(device)
        height, width = context.grid
        wanted = round(math.sqrt(n * height / width))
        n_lines = min(max(wanted, math.ceil(n / width), 1), height, n)
        lines = centres(n_lines, height)
        # the i-th line has the tokens from floor(i n / r) to floor((i + 1) n / r)
        edges = torch.arange(n_lines + 1) * n // n_lines
        picks = [line * width + centres(int(count), width) for line, count in zip(lines, edges.diff(), strict=True)]
        return torch.cat(picks).to(device)
