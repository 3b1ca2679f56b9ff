"""Uniform sampling of a picture's grid, the spatial part of ATP-LLaVA (Ye et al., CVPR 2025).

    sampled    lines and columns sqrt(1 / rate) apart from each other, each in the middle of its stretch
    score      1 - rate * sample_weight for a sampled token, 0 for the others; higher is kept

The rate falls with depth, and the fewer tokens are sampled the more each of them counts. With the paper's
sample_weight 3 a rate of 1/3 or more gives scores of 0 and less, which no threshold in (0, 1) lets through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tokenpruner.methods._even_cells import centres
from tokenpruner.models.image_layouts import Grid


def sampled(size: int, grids: Sequence[Grid], rate: float) -> torch.Tensor:
    """Which of an image's `size` tokens, which fill its `grids` one after another, are sampled; bool [size].

    Along the sequence where no grid is known.
    """
    check_rate(rate)
    if not grids:
        return _line(size, rate)
    root = math.sqrt(rate)
    return torch.cat([(_line(height, root)[:, None] & _line(width, root)).flatten() for height, width in grids])


def scores(size: int, grids: Sequence[Grid], rate: float, sample_weight: float) -> torch.Tensor:
    """The spatial score of each token; float32 [size]."""
    return sampled(size, grids, rate) * (1 - rate * sample_weight)


def _line(size: int, rate: float) -> torch.Tensor:
    found = torch.zeros(size, dtype=torch.bool)
    # half a token goes up, whatever its number
    found[centres(max(math.floor(size * rate + 0.5), 1), size)] = True
    return found


def check_rate(rate: float) -> None:
    """Raise ValueError unless `rate` is a number in (0, 1]."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1:
        raise ValueError(f"want a sampling rate in (0, 1], got {rate!r}")
