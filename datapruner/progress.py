"""Progress on stderr: rows, rows/s, tokens/s and time left, where stderr is a terminal; nothing elsewhere.

A scorer that works long on one batch calls `advance` while it works; outside of a run that does nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID

Display: TypeAlias = "Progress | None"


class Bar:
    """One line: how far a step is. Without a display it only counts."""

    def __init__(self, display: Display, name: str, total: int | None) -> None:
        self.display, self.done, self.skipped, self.tokens = display, 0.0, 0.0, 0
        self.started: float | None = None
        self.task: TaskID | None = None
        if display is not None:
            self.task = display.add_task(name, total=total, rate="")

    def skip(self, until: int) -> None:
        """The rows up to row `until` were done in an earlier run: they do not count for the speed."""
        self.skipped += until - self.done
        self.move(until - self.done, 0)

    @contextmanager
    def working(self, until: int) -> Iterator[None]:
        """Rows are being worked on, up to row `until`; `advance` inside reports to this bar."""
        self.started = self.started or time.monotonic()
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)
        # whatever was reported on the way, now these rows are done
        self.move(until - self.done, 0)

    def move(self, rows: float, tokens: int) -> None:
        self.done += rows
        self.tokens += tokens
        if self.display is None or self.task is None:
            return
        seconds = max(time.monotonic() - (self.started or 0), 1e-3)
        rate = f"{_short((self.done - self.skipped) / seconds)} rows/s"
        if self.tokens:
            rate += f"  {_short(self.tokens / seconds)} tokens/s"
        self.display.update(self.task, completed=self.done, rate=rate if self.done > self.skipped else "")


_active: ContextVar[Bar | None] = ContextVar("active", default=None)


def advance(rows: float, tokens: int = 0) -> None:
    """Tell the bar of the batch that is being scored that so many rows and tokens more are done."""
    bar = _active.get()
    if bar is not None:
        bar.move(rows, tokens)


@contextmanager
def display() -> Iterator[Display]:
    """A live display on stderr, or None where stderr is not a terminal."""
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
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        Count(),
        TextColumn("{task.fields[rate]}", style="cyan"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        yield shown


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
