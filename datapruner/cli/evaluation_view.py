"""What `evaluate` shows on a terminal: how far it is, the table, the notes, and the verdict."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from datapruner.cli.console import plain
from datapruner.evaluation.result import Against, Result, Row
from datapruner.evaluation.settings import ALL, RANDOM
from datapruner.evaluation.verdict import percent

# seconds from one line to the next
EVERY = 10.0


class TrainingLines:
    """Says on stderr now and then which training is the next one."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, number: int, total: int, training: str) -> None:
        if time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            print(f"training {number:,} of {total:,}: {plain(training, 100)}", file=sys.stderr, flush=True)


def show_result(result: Result, place: object) -> None:
    """The table of an evaluation, by budget, and what follows from it."""
    console = Console()
    whole = next(row for row in result.rows if row.way == ALL)
    console.print(
        f"{result.n_rows:,} rows, judged on {result.n_test_rows:,}; {plain(result.quality)} of all rows "
        f"{whole.mean:.4f} ({whole.low:.4f} to {whole.high:.4f}), {result.seeds['training']} trainings of "
        f"{result.steps:,} steps"
    )
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    shown.add_column("kept", justify="right", no_wrap=True)
    # in a narrow terminal words go below numbers, before names lose their letters
    shown.add_column("rows by", min_width=18)
    shown.add_column(plain(result.quality), min_width=6)
    for head in ("against random", "against all rows"):
        shown.add_column(head, min_width=14)
    shown.add_column("seconds", justify="right", no_wrap=True)
    for row in result.rows:
        if row.way != ALL:
            shown.add_row(*_cells(row))
    console.print(shown)
    for note in result.notes:
        console.print(f"[yellow]note:[/] {plain(note)}")
    style = "bold" if result.apply is None else "bold green"
    console.print(f"[{style}]{plain(result.verdict)}[/]")
    console.print(f"{plain(place)}")


def _cells(row: Row) -> Sequence[str]:
    by = {item.baseline: item for item in row.against}
    name = plain(row.way, 60) if row.is_candidate else f"[dim]{plain(row.way)}[/]"
    seconds = row.cost.before + row.cost.training
    return [
        percent(row.share),
        name,
        f"{row.mean:.4f}",
        _against(by.get(RANDOM)),
        _against(by.get(ALL)),
        f"{seconds:.1f}",
    ]


def _against(against: Against | None) -> str:
    if against is None:
        return ""
    found, word = against.difference, against.word
    style = {"better": "green", "worse": "red"}.get(word)
    text = f"{found.mean:+.4f}±{(found.high - found.low) / 2:.4f}"
    return f"{text} [{style}]{word}[/]" if style else f"{text} {word}"
