"""Time on one device, on a GPU by events: nobody waits for it until a number is read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# a point in time: seconds, or an event on a GPU's stream
Moment = float | torch.cuda.Event


def clock(device: torch.device) -> float:
    """Seconds, once everything launched on `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def moment(device: torch.device) -> Moment:
    """Now, in the order of what is launched on `device`."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def milliseconds(first: Moment, last: Moment) -> float:
    """From `first` to `last`; waits until `last` is there."""
    if isinstance(first, float) or isinstance(last, float):
        return 1000 * (float(last) - float(first))  # type: ignore[arg-type]
    last.synchronize()
    return float(first.elapsed_time(last))


class Stopwatch:
    """Adds up what is done inside `running()`, without waiting for the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._spans: list[tuple[Moment, Moment]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside; nothing is counted where it raises."""
        first = moment(self.device)
        yield
        self._spans.append((first, moment(self.device)))

    def milliseconds(self) -> float:
        """All of it so far; waits for the device."""
        return sum(milliseconds(first, last) for first, last in self._spans)
