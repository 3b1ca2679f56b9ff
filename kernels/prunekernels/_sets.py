"""Batches of sets of rows, as the greedy selections take them: checks and the move to [B, N, D]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

# up to here a matrix over all pairs of a set is kept (256 MiB of float32)
MAX_PAIRS = 8192**2


class Sets(NamedTuple):
    """`rows` [B, N, D], zero past a set's size; how many rows each set has, and how many are wanted."""

    rows: torch.Tensor
    inside: torch.Tensor
    sizes: list[int]
    counts: list[int]

    def fits_a_kernel(self) -> bool:
        """True where there is work and the matrices over pairs are small enough to be kept."""
        return 0 < self.rows.shape[1] ** 2 <= MAX_PAIRS and max(self.counts, default=0) > 0


def as_sets(features: torch.Tensor, n: int | Sequence[int], sizes: Sequence[int] | None) -> Sets:
    """Check `features` [N, D] or [B, N, D], `n` and `sizes`; raises ValueError naming the set or row."""
    batch = features[None] if features.ndim == 2 else features
    if batch.ndim != 3 or not batch.is_floating_point():
        raise ValueError(f"want floating-point features [N, D] or [B, N, D], got {[*features.shape]} {features.dtype}")
    lengths = [batch.shape[1]] * len(batch) if sizes is None else [int(size) for size in sizes]
    counts = [n] * len(batch) if isinstance(n, int) else [int(count) for count in n]
    if len(counts) != len(batch) or len(lengths) != len(batch):
        raise ValueError(f"want {len(batch)} counts and sizes, got {len(counts)} and {len(lengths)}")
    for image, (count, size) in enumerate(zip(counts, lengths, strict=True)):
        if not 0 <= size <= batch.shape[1]:
            raise ValueError(f"set {image}: want a size in [0, {batch.shape[1]}], got {size}")
        if not 0 <= count <= size:
            raise ValueError(f"set {image}: want to pick between 0 and {size} rows, got {count}")
    inside = torch.arange(batch.shape[1], device=batch.device) < torch.tensor(lengths, device=batch.device)[:, None]
    refuse_non_finite(batch, inside)
    if min(lengths, default=0) < batch.shape[1]:
        batch = batch.masked_fill(~inside[..., None], 0)
    return Sets(batch, inside, lengths, counts)


def refuse_non_finite(batch: torch.Tensor, inside: torch.Tensor) -> None:
    """Raise for NaN or infinity in the rows of `batch` [B, N, ...] that are `inside` [B, N]."""
    # a row that is not finite has a length that is not; a row of huge numbers may have one, too, and is looked at
    lengths = torch.linalg.vector_norm(batch.flatten(2), dim=-1, dtype=torch.promote_types(batch.dtype, torch.float32))
    if (lengths.isfinite() | ~inside).all():
        return
    bad = inside & ~batch.flatten(2).isfinite().all(-1)
    if bad.any():
        image, row = (int(index) for index in bad.nonzero()[0])
        raise ValueError(f"row {row} of set {image} has NaN or infinity")


def stack(rows: list[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Picks of several sets as int64 [B, max n], filled up with -1."""
    if not rows:
        return torch.empty(0, 0, dtype=torch.int64, device=device)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
