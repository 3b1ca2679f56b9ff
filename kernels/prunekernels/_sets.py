"""Batches of sets of rows, as the greedy selections take them: checks, and what a set of the batch looks like.

A set is computed by itself: the other members of its batch and what lies past its size change no bit of its result.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import torch

from prunekernels._finite import check_finite

# up to here a matrix over all pairs of a set is kept on a CPU (256 MiB of float32), and this share of a GPU's memory
MAX_PAIRS, GPU_SHARE = 8192**2, 1 / 16


class Sets(NamedTuple):
    """`rows` [B, N, D], part of no graph; how many of them each set has, and how many are wanted."""

    rows: torch.Tensor
    sizes: list[int]
    counts: list[int]


def as_sets(features: torch.Tensor, n: int | Sequence[int], sizes: Sequence[int] | None) -> Sets:
    """Check shapes of `features` [N, D] or [B, N, D], `n` and `sizes`; raises ValueError naming the set."""
    batch = features.detach()[None] if features.ndim == 2 else features.detach()
    if batch.ndim != 3 or not batch.is_floating_point():
        raise ValueError(f"want floating-point features [N, D] or [B, N, D], got {[*features.shape]} {features.dtype}")
    lengths = [batch.shape[1]] * len(batch) if sizes is None else [operator.index(size) for size in sizes]
    counts = _counts(n, len(batch))
    if len(counts) != len(batch) or len(lengths) != len(batch):
        raise ValueError(f"want {len(batch)} counts and sizes, got {len(counts)} and {len(lengths)}")
    for image, (count, size) in enumerate(zip(counts, lengths, strict=True)):
        if not 0 <= size <= batch.shape[1]:
            raise ValueError(f"set {image}: want a size in [0, {batch.shape[1]}], got {size}")
        if not 0 <= count <= size:
            raise ValueError(f"set {image}: want to pick between 0 and {size} rows, got {count}")
    return Sets(batch, lengths, counts)


def check_sets(name: str, values: torch.Tensor, sizes: Sequence[int]) -> None:
    """Raise ValueError where a row of `values` [B, N, D] within its set's size has NaN or infinity."""
    if min(sizes, default=0) < values.shape[1]:
        values = values.masked_fill(~inside(sizes, values)[..., None], 0)
    check_finite(name, values)


def inside(sizes: Sequence[int], values: torch.Tensor) -> torch.Tensor:
    """Which rows of `values` [B, N, ...] belong to their set: bool [B, N]."""
    return torch.arange(values.shape[1], device=values.device) < on_device(sizes, values.device)[:, None]


def on_device(numbers: Sequence[int], device: torch.device) -> torch.Tensor:
    """`numbers` as int64 [B], written where they are needed: a copy from the host waits, and no graph can hold it."""
    runs = [(number, len([*run])) for number, run in itertools.groupby(numbers)] or [(0, 0)]
    return torch.cat([torch.full((length,), number, dtype=torch.int64, device=device) for number, length in runs])


def keeps_pairs(rows: torch.Tensor, most: int) -> bool:
    """True where a set of `rows` [B, N, D] has at most `most` rows and a matrix over their pairs is kept."""
    n_rows = rows.shape[1]
    if not rows.is_cuda:
        return n_rows**2 <= MAX_PAIRS and n_rows <= most
    memory = torch.cuda.get_device_properties(rows.device).total_memory
    return 4 * len(rows) * n_rows**2 <= GPU_SHARE * memory and n_rows <= most


def stack(rows: list[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Picks of several sets as int64 [B, max n], filled up with -1."""
    if not rows:
        return torch.empty(0, 0, dtype=torch.int64, device=device)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


def empty_picks(rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """What a selection returns, without its picks."""
    return rows.new_empty(len(rows), max(counts, default=0), dtype=torch.int64)


def _counts(n: int | Sequence[int], n_sets: int) -> list[int]:
    # what is traced has symbols for numbers, which are ints and have no attributes
    if isinstance(n, int) or not (isinstance(n, Sequence) or getattr(n, "ndim", 0)):
        return [operator.index(n)] * n_sets
    return [operator.index(count) for count in n]
