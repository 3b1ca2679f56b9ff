"""An image shared out evenly among n tokens: what the evenly spaced baselines have in common.

On a grid the n are shared out over r lines of about equal height, with r near the number that makes cells square,
and each line takes its share; without a grid the image is one line. Of a cut-up image each view takes its share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from prunekernels import budget
from tokenpruner.base.before_decoder import Context
from tokenpruner.models.image_layouts import Grid


class View(NamedTuple):
    """`n` tokens for the part of an image that begins at `first`: `grid` rows and columns, one row where unknown."""

    first: int
    grid: Grid
    n: int


def views(n: int, context: Context) -> Iterator[View]:
    """The parts of the image that get any of the `n` tokens, in proportion to their sizes."""
    grids = list(context.views) or [context.grid or (1, context.size)]
    sizes = [height * width for height, width in grids]
    first = 0
    for grid, size, share in zip(grids, sizes, budget.allocate(n, sizes).tolist(), strict=True):
        if share:
            yield View(first, grid, share)
        first += size


def lines(n: int, grid: Grid) -> list[int]:
    """How many of `n` tokens each of r lines takes: from floor(i n / r) to floor((i + 1) n / r)."""
    height, width = grid
    wanted = round(math.sqrt(n * height / width))
    n_lines = min(max(wanted, math.ceil(n / width), 1), height, n)
    return edges(n_lines, n).diff().tolist()


def edges(n: int, size: int) -> torch.Tensor:
    """Where `n` equal stretches of 0 ... `size` - 1 begin, and the last one's end; int64 [n + 1]."""
    return torch.arange(n + 1) * size // n


def centres(n: int, size: int) -> torch.Tensor:
    """The middles of `n` equal stretches of 0 ... `size` - 1; int64 [n], distinct, ascending for n <= size."""
    return (2 * torch.arange(n) + 1) * size // (2 * n)
