"""Refusal of rows that hold NaN or infinity, and of other bad numbers, without a wait for the GPU.

On a CPU the answer is there at once, with the row. On a GPU it is copied to the host while the work goes on, and read
when a later check comes by, or on request: `raise_pending()`. What a call with bad rows returned until then means
nothing, but its picks are rows of the set. A captured CUDA graph is not checked.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch

# what to say of the first bad place, given as its index
Message = Callable[[tuple[int, ...]], str]


class Pending(NamedTuple):
    """A check whose `answer` [] is on its way to the host, there after `done`; `error` says what is wrong."""

    done: torch.cuda.Event
    answer: torch.Tensor
    error: Callable[[float], str | None]


_pending: deque[Pending] = deque()


def check_finite(name: str, values: torch.Tensor) -> None:
    """Raise ValueError for rows of `values` [N, D] or [B, N, D] that are not finite; on a CPU it names the first."""
    if values.is_cuda:
        # one pass and one number: a row would take ten passes to name
        _refuse_later(
            lambda: torch.linalg.vector_norm(values, torch.inf) if values.numel() else values.new_zeros(()),
            values.device,
            lambda largest: None if math.isfinite(largest) else f"{name} have NaN or infinity",
        )
        return
    if not _has_finite_sum(values):
        refuse_where(~values.isfinite().all(-1), lambda place: _message(name, place))


def refuse_not_finite(values: torch.Tensor, message: Message) -> None:
    """Raise ValueError with the `message` of the first of `values` [N, ...] that holds NaN or infinity."""
    if values.is_cuda or not _has_finite_sum(values):
        refuse_where(~values.isfinite().flatten(1).all(-1) if values.ndim > 1 else ~values.isfinite(), message)


def _has_finite_sum(values: torch.Tensor) -> bool:
    # one NaN or infinity leaves no finite sum; huge numbers may leave none either, and are looked at row by row
    # (float16 is summed in float32, which is its common type with bfloat16)
    return math.isfinite(values.sum(dtype=torch.promote_types(values.dtype, torch.bfloat16)))


def refuse_where(bad: torch.Tensor, message: Message) -> None:
    """Raise ValueError with the `message` of the first place where `bad` is True."""
    if bad.is_cuda:
        # the shape alone is kept until the answer is read
        shape = bad.shape
        _refuse_later(
            lambda: torch.where(bad.any(), bad.flatten().byte().argmax(), -1) if bad.numel() else bad.sum() - 1,
            bad.device,
            lambda first: None if first < 0 else message(_index(int(first), shape)),
        )
    elif bad.any():
        raise ValueError(message(_index(int(bad.flatten().byte().argmax()), bad.shape)))


def raise_pending() -> None:
    """Wait for the checks that are on their way; raises ValueError for the first one that found something."""
    _read(wait=True)


def _refuse_later(ask: Callable[[], torch.Tensor], device: torch.device, error: Callable[[float], str | None]) -> None:
    if torch.cuda.is_current_stream_capturing():
        return
    _read(wait=False)
    # a copy that nobody waits for comes to stand in pinned memory
    answer, done = ask().to("cpu", non_blocking=True), torch.cuda.Event()
    done.record(torch.cuda.current_stream(device))
    _pending.append(Pending(done, answer, error))


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
        if error := check.error(check.answer.item()):
            raise ValueError(f"an earlier call: {error}")


def _index(place: int, shape: torch.Size) -> tuple[int, ...]:
    """The index of the `place`-th entry of a tensor of `shape`."""
    index = []
    for size in reversed(shape):
        place, last = divmod(place, size)
        index.append(last)
    return tuple(reversed(index))


def _message(name: str, place: tuple[int, ...]) -> str:
    *sets, row = place
    return f"row {row} of {f'set {sets[0]} of ' if sets else ''}{name} has NaN or infinity"
