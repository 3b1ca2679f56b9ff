"""Time on one device: seconds once all is done, and milliseconds of pieces of work, on a GPU by events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def clock(device: torch.device) -> float:
    """Seconds, once everything launched on `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Stopwatch:
    """Adds up what is done inside `running()`, without waiting for the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._done = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside; nothing is counted where it raises."""
        if self.device.type != "cuda":
            started = time.perf_counter()
            yield
            self._done += time.perf_counter() - started
            return
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(self.device)
        first.record(stream)
        yield
        last.record(stream)
        self._events.append((first, last))

    def milliseconds(self) -> float:
        """All of it so far; waits for the device."""
        if self._events:
            self._events[-1][1].synchronize()
        return 1000 * self._done + sum(first.elapsed_time(last) for first, last in self._events)
