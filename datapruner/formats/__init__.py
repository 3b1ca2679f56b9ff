"""File formats: rows read in chunks and kept as they stand, and written back as they stood.

A format is a module with `SUFFIXES`, `read(path, chunk_rows, columns)`, which yields `Rows`, and
`Writer(path, like)`. The source picks it by the file's ending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Rows(Protocol):
    """Consecutive rows of one file."""

    def __len__(self) -> int: ...

    def place(self, index: int) -> str:
        """Where row `index` stands, for people: the file, and the line or row from 1."""

    def fields(self, names: Sequence[str]) -> list[list[object]]:
        """For each of `names` its value in every row; raises ValueError naming the place and the field."""


@dataclass(frozen=True)
class Note:
    """What is said about a dropped row: it is written beside the row's own fields."""

    row: int
    uid: str
    reason: str
    scores: dict[str, float]


class RowWriter(Protocol):
    """Writes rows of the format it was made for."""

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        """Append the rows `indices` of `rows`, each with its note where there are any."""

    def close(self) -> None:
        """Finish the file."""


def free_name(taken: Sequence[str]) -> str:
    """The field that holds the notes: "prunekit", or with the first free number behind it."""
    name, number = "prunekit", 1
    while name in taken:
        number += 1
        name = f"prunekit_{number}"
    return name
