"""Means, sums and maxima of values over segments: token scores to sentences, words, documents or frames.

Deterministic on every device: values are sorted by segment and reduced in runs, no atomics. Torch only: one
stable sort and one read of the values, already at the memory's speed.
"""

from __future__ import annotations

from typing import Literal

import torch


def reduce(
    values: torch.Tensor,
    segment_ids: torch.Tensor,
    op: Literal["mean", "sum", "max"],
    n_segments: int | None = None,
) -> torch.Tensor:
    """Reduce `values` [N] by `segment_ids` [N] (int64, any order, from 0); returns `values.dtype` [K].

    `n_segments` defaults to the largest id + 1. Halves are accumulated in float32. An empty segment sums to 0;
    its mean or max does not exist and raises ValueError.
    """
    if values.ndim != 1 or segment_ids.shape != values.shape:
        raise ValueError(f"want values [N] and segment_ids [N], got {[*values.shape]} and {[*segment_ids.shape]}")
    if op not in ("mean", "sum", "max"):
        raise ValueError(f"want op mean, sum or max, got {op!r}")
    lengths = sizes(segment_ids, n_segments)
    if op != "sum" and (lengths == 0).any():
        raise ValueError(f"segment {int((lengths == 0).nonzero()[0])} is empty and has no {op}")
    if not len(values):
        return torch.zeros(len(lengths), dtype=values.dtype, device=values.device)
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    ordered = wide[segment_ids.argsort(stable=True)]
    return torch.segment_reduce(ordered, op, lengths=lengths, initial=0 if op == "sum" else None).to(values.dtype)


def sizes(segment_ids: torch.Tensor, n_segments: int | None = None) -> torch.Tensor:
    """How many items each segment has: int64 [K], on the device of `segment_ids`."""
    if segment_ids.dtype != torch.int64:
        raise ValueError(f"want segment_ids as int64, got {segment_ids.dtype}")
    smallest, largest = (int(segment_ids.min()), int(segment_ids.max())) if len(segment_ids) else (0, -1)
    count = largest + 1 if n_segments is None else n_segments
    if smallest < 0 or largest >= count:
        raise ValueError(f"want segment_ids in [0, {count}), got {smallest} to {largest}")
    # bincount on the CPU: on CUDA it adds with atomics, and refuses where determinism is asked for
    return segment_ids.cpu().bincount(minlength=count).to(segment_ids.device)
