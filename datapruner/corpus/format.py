"""The contract of a format: rows read in chunks and kept as they stand, and written back as they stood.

A format is a module with `read(fragment, options, columns, begin)`, which yields `Rows`, and `Writer(path, like,
noted)`; with `check(fragments, columns)` where the files of a corpus have to fit together. A fragment is what one
format reads from its begin to its end: a file, a table in memory, a folder of images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np


@dataclass(frozen=True)
class ReadOptions:
    """A chunk has at most `rows` rows, and at most `bytes` bytes unless its only row has more.

    `text_rows`: what a row of a text file is. `skip`: where data breaks off, what came before it is read, and the rest
    is one broken row.
    """

    rows: int
    bytes: int
    text_rows: Literal["line", "file"] = "line"
    skip: bool = False


@dataclass(frozen=True)
class Begin:
    """Where rows begin in a fragment: the byte (JSON lines, decompressed) or the row, and the line or row from 1."""

    offset: int = 0
    number: int = 1


START = Begin()


class Rows(Protocol):
    """Rows of one fragment, in their order."""

    @property
    def begin(self) -> Begin:
        """Where the rows begin, those that were left out by `take` included."""

    @property
    def size(self) -> int:
        """Their bytes, as `ReadOptions.bytes` counts them; of all that were read, whatever was taken of them."""

    @property
    def broken(self) -> Mapping[int, str]:
        """Rows that the reader knows to be broken, and why; only where it was asked to skip such."""

    def __len__(self) -> int: ...

    def source_of(self, index: int) -> object:
        """The fragment of row `index`."""

    def take(self, indices: Sequence[int]) -> Rows:
        """The rows `indices`, ascending, each of which knows its location."""

    def location(self, index: int) -> str:
        """Where row `index` stands, for people: the file, and the line or row from 1."""

    def fields(self, names: Sequence[str]) -> list[list[object]]:
        """For each of `names` its value in every row; raises ValueError naming the place and the field."""

    def vectors(self, name: str) -> np.ndarray | None:
        """The field `name` as numbers [n, d] where the format holds it so; None: ask `fields`."""

    def contents(self) -> list[bytes]:
        """Each row as bytes, equal where the rows are equal."""


class Writer(Protocol):
    """Makes a writer of rows like those of the fragments `like`."""

    def __call__(self, path: Path, like: Sequence[object], noted: Mapping[str, str] | None = None) -> RowWriter: ...


@dataclass(frozen=True)
class Note:
    """What is said about a dropped row, written beside the row's own fields: `scores` are those that it was selected by
    and, as in "near_duplicate.nearest_uid", what their scorers say beside them."""

    row: int
    uid: str
    reason: str
    scores: dict[str, object]


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
