"""Refusal of rows that hold NaN or infinity, without a wait for the GPU.

On a CPU the answer is there at once, with the row. On a GPU the largest entry is copied to the host while the work
goes on, and read when a later check comes by, or on request: `raise_pending()`. What a call with bad rows returned
until then means nothing, but its picks are rows of the set. A captured CUDA graph is not checked.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import torch


class Pending(NamedTuple):
    """A check whose answer is on its way: `largest` [] on the host, a number or not, valid after `done`."""

    done: torch.cuda.Event
    largest: torch.Tensor
    name: str


_pending: deque[Pending] = deque()


def check_finite(name: str, values: torch.Tensor) -> None:
    """Raise ValueError naming the first row of `values` [N, D] or [B, N, D] that is not finite."""
    if values.is_cuda:
        _check_later(name, values)
        return
    # one NaN or infinity leaves no finite sum; huge numbers may leave none either, and are looked at row by row
    # (float16 is summed in float32, which is its common type with bfloat16)
    if math.isfinite(values.sum(dtype=torch.promote_types(values.dtype, torch.bfloat16))):
        return
    bad = ~values.isfinite().all(-1)
    if bad.any():
        raise ValueError(_message(name, int(bad.flatten().byte().argmax()), bad.shape))


def raise_pending() -> None:
    """Wait for the checks that are on their way; raises ValueError for the first one that found something."""
    _read(wait=True)


def _check_later(name: str, values: torch.Tensor) -> None:
    if not values.numel() or torch.cuda.is_current_stream_capturing():
        return
    _read(wait=False)
    # a copy that nobody waits for comes to stand in pinned memory
    largest = torch.linalg.vector_norm(values, torch.inf).to("cpu", non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(values.device))
    _pending.append(Pending(done, largest, name))


def _read(wait: bool) -> None:
    while True:
        try:
            check = _pending.popleft()
        except IndexError:
            return
        if wait:
            check.done.synchronize()
        elif not check.done.query():
            _pending.appendleft(check)
            return
        if not math.isfinite(check.largest):
            raise ValueError(f"{check.name} of an earlier call have NaN or infinity")


def _message(name: str, place: int, shape: torch.Size) -> str:
    set_number, row = divmod(place, shape[-1])
    return f"row {row} of {f'set {set_number} of ' if len(shape) > 1 else ''}{name} has NaN or infinity"
