"""Sums of rows by an id, the same bits in every run: no atomics."""

from __future__ import annotations

import torch

# a thread adds at most so many rows in a row; longer runs are cut, so that one large id does not hold up the rest
RUN = 256


def sum_rows(values: torch.Tensor, ids: torch.Tensor, n: int) -> torch.Tensor:
    """Sum `values` [N, D] by `ids` [N] (int64 in [0, n)); returns [n, D], zeros for an id without rows."""
    if values.is_cuda and len(values):
        return _sum_runs(values, ids, n)
    # on a CPU rows are added one after the other
    return values.new_zeros(n, values.shape[1]).index_add_(0, ids, values)


def _sum_runs(values: torch.Tensor, ids: torch.Tensor, n: int) -> torch.Tensor:
    """Sort by id, sum runs of at most RUN rows, then the runs of each id: a fixed order of additions."""
    order = ids.argsort(stable=True)
    ordered = ids[order]
    places = torch.arange(len(ids), device=ids.device)
    is_start = places % RUN == 0
    is_start[1:] |= ordered[1:] != ordered[:-1]
    starts = is_start.nonzero().flatten()
    lengths = torch.diff(starts, append=starts.new_tensor([len(ids)]))
    parts = torch.segment_reduce(values[order], "sum", lengths=lengths, initial=0)
    ends = torch.searchsorted(ordered[starts], torch.arange(n + 1, device=ids.device))
    return torch.segment_reduce(parts, "sum", lengths=ends.diff(), initial=0)
