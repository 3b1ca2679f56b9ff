"""Rows that cannot be used, found one by one and left out, as `on_error="skip"` has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datapruner.corpus.format import Rows
from datapruner.corpus.formats._arrow import ArrowRows
from datapruner.corpus.formats.jsonl import JsonlRows
from datapruner.corpus.joined_rows import JoinedRows

SKIPPED = "skipped.jsonl"


@dataclass(frozen=True)
class SkippedRow:
    """Where a row stands, why it cannot be used, and what it is, as far as it can be told as text."""

    place: str
    reason: str
    row: str


SkipCallback = Callable[[SkippedRow], None]


def ignore(row: SkippedRow) -> None:
    """For those who need not hear."""


def without_bad(rows: Rows, check: Callable[[Rows], object], on_skip: SkipCallback) -> Rows:
    """Those of `rows` for which `check` raises no ValueError and which the reader found whole."""
    bad = dict(rows.broken)
    _look(rows, [index for index in range(len(rows)) if index not in bad], check, bad)
    if not bad:
        return rows
    for index in sorted(bad):
        place = rows.location(index)
        on_skip(SkippedRow(place, bad[index].removeprefix(place).removeprefix(": "), _shown(rows, index)))
    return rows.take([index for index in range(len(rows)) if index not in bad])


def _look(rows: Rows, indices: Sequence[int], check: Callable[[Rows], object], bad: dict[int, str]) -> None:
    """Halve until the rows that are refused stand alone: a few bad ones among thousands cost little."""
    if not indices:
        return
    try:
        check(rows.take(indices))
    except ValueError as error:
        if len(indices) == 1:
            bad[indices[0]] = str(error)
            return
        half = len(indices) // 2
        _look(rows, indices[:half], check, bad)
        _look(rows, indices[half:], check, bad)


def _shown(rows: Rows, index: int) -> str:
    alone = rows.take([index])
    if isinstance(alone, JoinedRows):
        alone = alone.parts[0]
    if isinstance(alone, JsonlRows):
        return alone.lines[0].decode(errors="replace")
    if isinstance(alone, ArrowRows):
        return json.dumps(alone.table.to_pylist()[0], ensure_ascii=False, default=repr)
    return ""


class SkippedFile:
    """Writes skipped rows into the new file `path`, a line of JSON each; `first` of them, and how many."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self.first: SkippedRow | None = None
        path.touch()

    def add(self, row: SkippedRow) -> None:
        """Append `row`."""
        with open(self.path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps(vars(row), ensure_ascii=False) + "\n")
        self.first = self.first or row
        self.count += 1


def count_skipped(folder: Path) -> int:
    """How many rows were skipped for the score table or the output in `folder`."""
    path = folder / SKIPPED
    return sum(1 for _ in open(path, "rb")) if path.is_file() else 0
