"""Ragged rows: items of several rows each, one after the other, of which `lengths` [N] says how many each has.

Nothing is padded as a whole: what is computed of rows is computed for a few items at a time, so that memory does not
grow with them, and an item's numbers do not hang on those that stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from prunekernels._counts import whole

Lengths = torch.Tensor | Sequence[int]

# entries of what is gathered at a time (4 MiB of float32)
MAX_ENTRIES = 2**20


def check_lengths(name: str, lengths: Lengths, n_rows: int) -> torch.Tensor:
    """`lengths` as int64 [N] of the CPU; raises ValueError unless they are whole, at least 0, and sum to `n_rows`."""
    if isinstance(lengths, torch.Tensor):
        if lengths.ndim != 1 or lengths.is_floating_point() or lengths.dtype == torch.bool:
            raise ValueError(f"want whole {name} [N], got {[*lengths.shape]} {lengths.dtype}")
        found = lengths.detach().to("cpu", torch.int64)
    else:
        found = torch.tensor([whole(name, each) for each in lengths], dtype=torch.int64, device="cpu")
    if (found < 0).any():
        raise ValueError(f"want {name} of at least 0, got {int(found.min())}")
    if int(found.sum()) != n_rows:
        raise ValueError(f"want {name} that sum to {n_rows} rows, got {int(found.sum())}")
    return found


def starts_of(lengths: torch.Tensor) -> torch.Tensor:
    """Where each item begins, int64 [N]."""
    return lengths.cumsum(0) - lengths


def groups(lengths: torch.Tensor, n_rows: int) -> Iterator[tuple[slice, slice]]:
    """Items that stand side by side with at most `n_rows` rows together, or one alone; their places, their rows."""
    ends = lengths.cumsum(0)
    first = start = 0
    while first < len(lengths):
        last = max(first + 1, int(torch.searchsorted(ends, start + n_rows, right=True)))
        end = int(ends[last - 1])
        yield slice(first, last), slice(start, end)
        first, start = last, end


def rows_of(lengths: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """The places of the rows of `items` [M], one item after the other, int64."""
    sizes = lengths[items]
    shifts = (starts_of(lengths)[items] - starts_of(sizes)).repeat_interleave(sizes)
    return shifts + torch.arange(len(shifts), dtype=torch.int64, device=shifts.device)


def maxima(table: torch.Tensor, lengths: torch.Tensor, codes: torch.Tensor | None = None) -> torch.Tensor:
    """The largest entry of each column over the rows of each item, [N, Q]; -inf for an item without rows.

    Rows stand in `table` [R, Q] itself, or are the rows `codes` [T] of it.
    """
    n_columns = table.shape[1]
    best = torch.full((len(lengths), n_columns), -torch.inf, dtype=table.dtype, device=table.device)
    starts, (widths, order) = starts_of(lengths), lengths.sort(descending=True, stable=True)
    height = max(1, MAX_ENTRIES // max(n_columns, 1))
    first, n_items = 0, int((lengths > 0).sum())
    while first < n_items:
        widest = int(widths[first])
        # items over half as long as the longest, as many as are held at a time
        last = int(torch.searchsorted(-widths, -(widest // 2)))
        items = order[first : min(last, first + max(1, height // widest), n_items)]
        peak = table.new_full((len(items), n_columns), -torch.inf)
        for start in range(0, widest, height):
            # filled up with its last row again, an item has the same maximum
            at = torch.arange(start, min(start + height, widest), dtype=torch.int64, device="cpu")
            rows = (starts[items, None] + torch.minimum(at, lengths[items, None] - 1)).flatten().to(table.device)
            rows = rows if codes is None else codes[rows].long()
            found = table.index_select(0, rows).view(len(items), len(at), n_columns).amax(1)
            peak = torch.maximum(peak, found)
        best[items.to(table.device)] = peak
        first += len(items)
    return best
