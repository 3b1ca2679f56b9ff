"""Average pooling: neighbouring tokens become their mean, the baseline that throws nothing away.

On a grid of patches the neighbourhoods are cells: the n are shared out over r lines of about equal height, with r
near the number that makes cells square, and each line is cut into its share of stretches; without a grid they are
runs along the sequence. Sides differ by at most one token where they cannot be equal, so that any n is met exactly.
A cell's mean stands at the place of its middle token; a cell of one token stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tokenpruner.base.before_decoder import Context, Merge, Method, Need
from tokenpruner.methods import _even_cells
from tokenpruner.models.image_layouts import Grid


@dataclass(frozen=True)
class Pool(Method):
    """Rule: means of cells, in two dimensions where the grid is known."""

    cost: ClassVar[str] = "one pass over the embeddings"
    needs = frozenset[Need]({"visual"})

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """The middle token of each of `n` cells."""
        picks = [view.first + _cells(view.n, view.grid)[0] for view in _even_cells.views(n, context)]
        return torch.cat(picks).to(context.visual.device)

    def merge(self, context: Context, picks: torch.Tensor) -> Merge:
        """Every token into its cell; those of a view that got no cell at all into none."""
        target, n_before = torch.full((context.size,), -1), 0
        for view in _even_cells.views(len(picks), context):
            own = _cells(view.n, view.grid)[1]
            target[view.first : view.first + len(own)] = n_before + own
            n_before += view.n
        return Merge(target.to(context.visual.device))


def _cells(n: int, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """The middles [n] of the cells of a grid, and each token's cell [N]; int64."""
    height, width = grid
    counts = _even_cells.lines(n, grid)
    tops = _even_cells.edges(len(counts), height)
    middles, owner, n_before = [], torch.empty(height, width, dtype=torch.int64), 0
    for top, bottom, count in zip(tops[:-1], tops[1:], counts, strict=True):
        sides = _even_cells.edges(count, width)
        middles.append((top + bottom) // 2 * width + (sides[:-1] + sides[1:]) // 2)
        owner[top:bottom] = n_before + torch.arange(count).repeat_interleave(sides.diff())
        n_before += count
    return torch.cat(middles), owner.flatten()
