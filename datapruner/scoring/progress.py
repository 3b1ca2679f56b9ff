"""Progress on stderr: rows, rows/s, tokens/s and time left. A live bar on a terminal; elsewhere, as in a log file,
a line every half minute, so that a short run says nothing.

A scorer that works long on one batch calls `advance` while it works; outside of a run that does nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from prunekernels.io.escape import one_line

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID

Display: TypeAlias = "Progress | None"
# told how many rows and tokens more are done
ProgressCallback: TypeAlias = Callable[[float, int], None]

# seconds from one line to the next where there is no terminal
EVERY = 30.0


class Bar:
    """One line: how far a step is. Without a display it counts, and says so now and then."""

    def __init__(self, display: Display, name: str, total: int | None) -> None:
        # columns are named by whoever scores
        self.display, self.name, self.total = display, one_line(name), total
        self.done, self.skipped, self.tokens = 0.0, 0.0, 0
        self.started: float | None = None
        self.said = time.monotonic()
        self.task: TaskID | None = None
        if display is not None:
            self.task = display.add_task(self.name, total=total, rate="")

    def skip(self, until: float) -> None:
        """The rows up to row `until` were done in an earlier run: they do not count for the speed."""
        self.skipped += until - self.done
        self.move(until - self.done, 0)

    def begin(self) -> None:
        """From now on time counts."""
        self.started = self.started or time.monotonic()

    @contextmanager
    def working(self, until: int) -> Iterator[None]:
        """Rows are being worked on, up to row `until`; `advance` inside reports to this bar."""
        self.begin()
        token = _active.set(self.move)
        try:
            yield
        finally:
            _active.reset(token)
        # whatever was reported on the way, now these rows are done
        self.move(until - self.done, 0)

    def move(self, rows: float, tokens: int) -> None:
        """So many rows and tokens more are done."""
        self.done += rows
        self.tokens += tokens
        if self.display is not None and self.task is not None:
            self.display.update(self.task, completed=self.done, rate=self.rate())
        elif self.display is None and time.monotonic() - self.said >= EVERY:
            self.said = time.monotonic()
            print(self.line(), file=sys.stderr, flush=True)

    def rate(self) -> str:
        """Rows and tokens a second, without those of an earlier run."""
        rows = self.done - self.skipped
        if rows <= 0:
            return ""
        seconds = self._seconds()
        tokens = f"  {_short(self.tokens / seconds)} tokens/s" if self.tokens else ""
        return f"{_short(rows / seconds)} rows/s{tokens}"

    def line(self) -> str:
        """As in "perplexity: 1,200 of 5,000 rows  40 rows/s  9,000 tokens/s  0:01:35 left"."""
        of = "" if self.total is None else f" of {self.total:,}"
        parts = [f"{self.name}: {int(self.done):,}{of} rows", self.rate()]
        if self.total is not None and self.done > self.skipped:
            left = (self.total - self.done) * self._seconds() / (self.done - self.skipped)
            parts.append(f"{timedelta(seconds=round(max(left, 0)))} left")
        return "  ".join(filter(None, parts))

    def _seconds(self) -> float:
        return max(time.monotonic() - (self.started or 0), 1e-3)


_active: ContextVar[ProgressCallback | None] = ContextVar("active", default=None)


def advance(rows: float, tokens: int = 0) -> None:
    """Tell whoever shows the progress of this batch that so many rows and tokens more are done."""
    on_progress = _active.get()
    if on_progress is not None:
        on_progress(rows, tokens)


def ignore(rows: float, tokens: int) -> None:
    """For those who need not hear."""


@contextmanager
def share(on_progress: ProgressCallback, rows: int, parts: int) -> Iterator[None]:
    """One of `parts` equal parts of the work on `rows` rows: `advance` inside tells `on_progress`, the end the rest."""
    reported = 0.0

    def some(more: float, tokens: int) -> None:
        nonlocal reported
        reported += more / parts
        on_progress(more / parts, tokens)

    token = _active.set(some)
    try:
        yield
    finally:
        _active.reset(token)
    on_progress(rows / parts - reported, 0)


@contextmanager
def display() -> Iterator[Display]:
    """A live display on stderr, or None where stderr is not a terminal: bars then print lines."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            of = "" if task.total is None else f" of {int(task.total):,}"
            return Text(f"{int(task.completed):,}{of} rows")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        Count(),
        TextColumn("{task.fields[rate]}", style="cyan"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        yield shown


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
