"""Progress of long runs: a bar on standard error, if that is a terminal, with the time that is left; else nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from contextpruner.documents.files import Lines
from contextpruner.models.batches import listening


@contextmanager
def over_lines(paths: Sequence[str], passes: int = 1) -> Iterator[Callable[[Lines], Lines]]:
    """A bar that moves with the lines of `paths` as they are read, `passes` times over."""
    files = [Path(path) for path in paths]
    # of standard input nobody knows the end
    size = passes * sum(file.stat().st_size for file in files) if all(file.is_file() for file in files) else None
    with _bar("{task.fields[lines]:,} lines") as bar:
        task = bar.add_task("", total=size, lines=0)
        done = 0

        def watched(lines: Lines) -> Lines:
            nonlocal done
            for place, line in lines:
                yield place, line
                done += 1
                bar.update(task, advance=len(line) + 1, lines=done)

        yield watched


@contextmanager
def over_batches() -> Iterator[None]:
    """A bar that moves with the tokens that a model has read; a labeler without a model is quick, and has none."""
    with _bar("labelling") as bar:

        def watch(done: int, total: int) -> None:
            if not bar.task_ids:
                bar.add_task("", total=total)
            bar.update(bar.task_ids[0], completed=done, total=total)

        with listening(watch):
            yield


@contextmanager
def over_questions(said: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar under a name that moves by one of `total` whenever what it gives is called."""
    with _bar("{task.description}") as bar:
        # what is said may hold what rich would take for its mark-up
        task = bar.add_task(escape(said), total=total)
        yield lambda: bar.advance(task)


@contextmanager
def over_searches() -> Iterator[Callable[[str, int, int], None]]:
    """A bar under the name of what runs, told how much of how much is done; a new name is a new bar."""
    with _bar("{task.description}") as bar:
        tasks: dict[str, TaskID] = {}

        def watch(said: str, done: int, total: int) -> None:
            if said not in tasks:
                for old in bar.task_ids:
                    bar.update(old, visible=False)
                tasks[said] = bar.add_task(escape(said), total=total)
            bar.update(tasks[said], completed=done)

        yield watch


def _bar(said: str) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn(said), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left"))
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
