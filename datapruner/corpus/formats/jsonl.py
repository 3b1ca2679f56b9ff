"""JSON lines: one object a line, UTF-8, plain or compressed. Blank lines are skipped, and so is a byte order mark
before the first, which amid an output would be no JSON; every other line is kept byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np

from datapruner.corpus import field_paths
from datapruner.corpus.format import START, Begin, Limits, Note, Rows, free_name
from datapruner.corpus.formats._lines import CODECS, LONGEST_LINE, Lines, LineWriter, codec_of, read_lines
from datapruner.corpus.remote_files import AnyFile
from prunekernels.extras import require

PLAIN = (".jsonl", ".ndjson")
SUFFIXES = tuple(plain + packed for plain in PLAIN for packed in ("", *CODECS))


@dataclass(frozen=True)
class JsonlRows:
    """Lines of `path`, without their line feeds, and their numbers from 1."""

    path: AnyFile
    lines: list[bytes]
    numbers: np.ndarray
    begin: Begin

    def __len__(self) -> int:
        return len(self.lines)

    def only(self, index: int) -> JsonlRows:
        return replace(self, lines=[self.lines[index]], numbers=self.numbers[index : index + 1])

    def location(self, index: int) -> str:
        return f"{self.path}, line {self.numbers[index]}"

    def fields(self, names: Sequence[str]) -> list[list[object]]:
        if not names or not self.lines:
            return [[] for _ in names]
        try:
            return self._plain(names)
        # the exact parser has the last word on a line that is none for the fast one
        except (ValueError, KeyError, TypeError):
            rows = [self.parsed(index) for index in range(len(self))]
        return [[self._value(index, row, name) for index, row in enumerate(rows)] for name in names]

    def _value(self, index: int, row: dict[str, object], name: str) -> object:
        try:
            return field_paths.value_at(row, name)
        except KeyError:
            found = ", ".join(row) or "none"
        raise ValueError(f"{self.location(index)}: want a field {name!r}, got {found}")

    def _plain(self, names: Sequence[str]) -> list[list[object]]:
        """The fields by the fast parser; raises where a line is no object for it, or a number is not what it says."""
        loads = require("orjson", "data").loads
        get = partial(_values_at, names) if any("." in name for name in names) else itemgetter(*names)
        # each object goes as soon as its fields are out: thousands together would keep the garbage collector at work
        found = [get(loads(line)) for line in self.lines]
        columns = [found] if len(names) == 1 else [[*column] for column in zip(*found, strict=True)]
        # what is beyond 64 bits is a float for the fast parser, a whole number for the exact one
        if any(type(value) is float and abs(value) >= 2**63 for column in columns for value in column):
            raise ValueError("want the exact parser for numbers beyond 64 bits")
        return columns

    @property
    def source(self) -> AnyFile:
        return self.path

    def vectors(self, name: str) -> np.ndarray | None:
        return None

    def contents(self) -> list[bytes]:
        return [line.strip() for line in self.lines]

    def parsed(self, index: int) -> dict[str, object]:
        """The object in line `index`."""
        try:
            row = json.loads(self.lines[index].decode())
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.location(index)}: want UTF-8, got byte {error.object[error.start]:#04x}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.location(index)}: want a JSON object: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{self.location(index)}: want a JSON object, got {type(row).__name__}")
        return row


def _values_at(names: Sequence[str], row: Mapping[str, object]) -> object:
    """What `itemgetter` gives: the value of one name, or the values of several."""
    found = [field_paths.value_at(row, name) for name in names]
    return found if len(found) > 1 else found[0]


def read(
    path: AnyFile, limits: Limits, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[JsonlRows]:
    """The rows of `path` from `begin` on; `columns` only matters to formats that have them.

    The bytes of a chunk are those from its begin to the end of its last line.
    """
    waiting = Lines([], np.empty(0, np.int64), np.empty(0, np.int64))
    for lines in read_lines(path, begin, max(limits.bytes, LONGEST_LINE)):
        waiting += lines
        # one line more than fits has to be there before it is known that it does not
        while (n := _fitting(waiting, limits, begin)) < len(waiting):
            rows, waiting = waiting.split(n)
            yield JsonlRows(path, rows.lines, rows.numbers, begin)
            begin = Begin(int(rows.ends[-1]), int(rows.numbers[-1]) + 1)
    if len(waiting):
        yield JsonlRows(path, waiting.lines, waiting.numbers, begin)


def is_sequential(path: AnyFile) -> bool:
    """Whether `path` has to be read from its start."""
    return codec_of(path.name) is not None


def _fitting(lines: Lines, limits: Limits, begin: Begin) -> int:
    fitting = int(np.searchsorted(lines.ends, begin.offset + limits.bytes, "right"))
    return max(1, min(limits.rows, fitting))


class Writer:
    """Appends lines as they were read; a note becomes one more field at the end of its line."""

    def __init__(self, path: Path, like: object, noted: Sequence[str] | None = None) -> None:
        self.file = LineWriter(path)

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        if not isinstance(rows, JsonlRows):
            raise TypeError(f"want rows of JSON lines, got {type(rows).__name__}")
        lines = [rows.lines[index] for index in indices]
        if notes is not None:
            lines = [_with_note(rows, index, note) for index, note in zip(indices, notes, strict=True)]
        if lines:
            self.file.write(b"\n".join(lines) + b"\n")

    def close(self) -> None:
        self.file.close()


def _with_note(rows: JsonlRows, index: int, note: Note) -> bytes:
    # a line without these letters cannot have the field; only the others are parsed
    line = rows.lines[index]
    name = free_name(list(rows.parsed(index))) if b"prunekit" in line or b"\\u00" in line else free_name([])
    body = line.rstrip()
    # not asdict: its copies take as long as all else
    head = body[:-1].rstrip()
    # an object without fields has nothing that a comma would part
    comma = "" if head.endswith(b"{") and not json.loads(body) else ", "
    added = f"{comma}{json.dumps(name)}: {json.dumps(vars(note), ensure_ascii=False)}}}"
    return head + added.encode() + line[len(body) :]
