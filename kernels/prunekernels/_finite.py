"""Refusal of rows that hold NaN or infinity, without a wait for the GPU.

On a CPU the answer is there at once. On a GPU the place of the first bad row is copied to the host while the work
goes on, and read when a later check comes by, or on request: `raise_pending()`. What a call with bad rows returned
until then means nothing, but its picks are rows of the set. A captured CUDA graph is not checked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch

# what to say of the first bad place, given as its index
Message = Callable[[tuple[int, ...]], str]


class Pending(NamedTuple):
    """A check whose answer is on its way: `place` int64 on the host, -1 or the first bad one, valid after `done`."""

    done: torch.cuda.Event
    place: torch.Tensor
    shape: torch.Size
    message: Message


_pending: deque[Pending] = deque()


def check_finite(name: str, values: torch.Tensor) -> None:
    """Raise ValueError naming the first row of `values` [N, D] or [B, N, D] that is not finite."""
    if not values.is_cuda:
        # one NaN or infinity leaves no finite sum; huge numbers may leave none either, and are looked at row by row
        dtype = torch.promote_types(values.dtype, torch.bfloat16)
        if values.sum(dtype=dtype).isfinite():
            return
    elif torch.cuda.is_current_stream_capturing():
        return
    refuse_where(~values.isfinite().all(-1), lambda place: _message(name, place))


def refuse_where(bad: torch.Tensor, message: Message) -> None:
    """Raise ValueError with the `message` of the first place where `bad` is True."""
    if bad.is_cuda:
        _refuse_later(bad, message)
    elif bad.any():
        raise ValueError(message(_index(int(bad.flatten().byte().argmax()), bad.shape)))


def raise_pending() -> None:
    """Wait for the checks that are on their way; raises ValueError for the first one that found something."""
    _read(wait=True)


def _refuse_later(bad: torch.Tensor, message: Message) -> None:
    if torch.cuda.is_current_stream_capturing():
        return
    _read(wait=False)
    if not bad.numel():
        return
    flat = bad.flatten()
    first = torch.where(flat.any(), flat.byte().argmax(), -1)
    # a copy that nobody waits for comes to stand in pinned memory
    place, done = first.to("cpu", non_blocking=True), torch.cuda.Event()
    done.record(torch.cuda.current_stream(bad.device))
    _pending.append(Pending(done, place, bad.shape, message))


def _read(wait: bool) -> None:
    while _pending:
        try:
            check = _pending.popleft()
        except IndexError:
            # another thread took the last one
            return
        if wait:
            check.done.synchronize()
        elif not check.done.query():
            _pending.appendleft(check)
            return
        if check.place >= 0:
            raise ValueError(f"an earlier call: {check.message(_index(int(check.place), check.shape))}")


def _index(place: int, shape: torch.Size) -> tuple[int, ...]:
    """The index of a place in the flattened tensor."""
    found = []
    for size in reversed(shape):
        place, at = divmod(place, size)
        found.append(at)
    return tuple(reversed(found))


def _message(name: str, place: tuple[int, ...]) -> str:
    *sets, row = place
    return f"row {row} of {f'set {sets[0]} of ' if sets else ''}{name} has NaN or infinity"
