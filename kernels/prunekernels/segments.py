"""Means, sums and maxima of values over segments: token scores to sentences, words, documents or frames.

Deterministic on every device, no atomics. On a CPU values are added one after the other in float64, in one pass; on a
GPU they are sorted by segment and reduced in runs.
"""

from __future__ import annotations

from typing import Literal, SupportsIndex

import torch

from prunekernels._counts import whole
from prunekernels._precision import full_precision


@full_precision
def reduce(
    values: torch.Tensor,
    segment_ids: torch.Tensor,
    op: Literal["mean", "sum", "max"],
    n_segments: SupportsIndex | None = None,
) -> torch.Tensor:
    """Reduce `values` [N] by `segment_ids` [N] (int64, any order, from 0); returns `values.dtype` [K].

    `n_segments` defaults to the largest id + 1. No gradient. An empty segment sums to 0;
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
    run = _reduce_in_order if values.is_cpu else _reduce_sorted
    return run(values, segment_ids, op, lengths).to(values.dtype)


def _reduce_in_order(values: torch.Tensor, ids: torch.Tensor, op: str, lengths: torch.Tensor) -> torch.Tensor:
    if op == "max":
        return values.new_zeros(len(lengths)).scatter_reduce_(0, ids, values, "amax", include_self=False)
    sums = ids.bincount(values.double(), minlength=len(lengths))
    return sums / lengths if op == "mean" else sums


def _reduce_sorted(values: torch.Tensor, ids: torch.Tensor, op: str, lengths: torch.Tensor) -> torch.Tensor:
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    ordered = wide[ids.argsort(stable=True)]
    return torch.segment_reduce(ordered, op, lengths=lengths, initial=0 if op == "sum" else None)


def sizes(segment_ids: torch.Tensor, n_segments: SupportsIndex | None = None) -> torch.Tensor:
    """How many items each segment has: int64 [K], on the device of `segment_ids`."""
    if segment_ids.dtype != torch.int64:
        raise ValueError(f"want segment_ids as int64, got {segment_ids.dtype}")
    smallest, largest = (int(segment_ids.min()), int(segment_ids.max())) if len(segment_ids) else (0, -1)
    count = largest + 1 if n_segments is None else whole("n_segments", n_segments)
    if smallest < 0 or largest >= count:
        raise ValueError(f"want segment_ids in [0, {count}), got {smallest} to {largest}")
    # bincount on the CPU: on CUDA it adds with atomics, and refuses where determinism is asked for
    return segment_ids.cpu().bincount(minlength=count).to(segment_ids.device)
