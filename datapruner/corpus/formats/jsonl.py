"""JSON lines: one object a line, UTF-8, plain or compressed. Blank lines are skipped, and so is a byte order mark
before a line, as joined files have it; every other line is kept byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np

from datapruner.corpus import field_paths
from datapruner.corpus.format import START, Begin, Note, ReadOptions, Rows, free_name
from datapruner.corpus.formats._lines import LONGEST_LINE, NO_LINES, Lines, read_lines
from datapruner.corpus.formats._packed import PackedWriter, codec_of, packed
from datapruner.corpus.remote_files import AnyFile
from prunekernels.extras import require

SUFFIXES = packed(".jsonl", ".ndjson")


@dataclass(frozen=True)
class JsonlRows:
    """Lines of `path`, without their line feeds, and their numbers from 1; `unit` is what people call one."""

    path: AnyFile
    lines: list[bytes]
    numbers: np.ndarray
    begin: Begin
    size: int
    broken: Mapping[int, str] = field(default_factory=dict)
    unit: str = "line"

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, indices: Sequence[int]) -> JsonlRows:
        broken = {new: self.broken[old] for new, old in enumerate(indices) if old in self.broken}
        lines = [self.lines[index] for index in indices]
        return replace(self, lines=lines, numbers=self.numbers[np.asarray(indices, np.int64)], broken=broken)

    def source_of(self, index: int) -> AnyFile:
        return self.path

    def location(self, index: int) -> str:
        return f"{self.path}, {self.unit} {self.numbers[index]}"

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
    path: AnyFile, options: ReadOptions, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[JsonlRows]:
    """The rows of `path` from `begin` on; `columns` only matters to formats that have them.

    The bytes of a chunk are those from its begin to the end of its last line.
    """
    return rows_of(path, read_lines(path, begin, max(options.bytes, LONGEST_LINE), options.skip), options, begin)


def rows_of(
    path: AnyFile, found: Iterable[Lines], options: ReadOptions, begin: Begin, unit: str = "line"
) -> Iterator[JsonlRows]:
    """The lines `found` in `path` from `begin` on, in chunks."""
    waiting = NO_LINES
    for lines in found:
        waiting += lines
        # one line more than fits has to be there before it is known that it does not
        while (n := _fitting(waiting, options, begin)) < len(waiting):
            lines, waiting = waiting.split(n)
            yield _rows(path, lines, begin, unit)
            begin = Begin(int(lines.ends[-1]), int(lines.numbers[-1]) + 1)
    if len(waiting):
        yield _rows(path, waiting, begin, unit)


def _rows(path: AnyFile, lines: Lines, begin: Begin, unit: str) -> JsonlRows:
    size = int(lines.ends[-1]) - begin.offset
    return JsonlRows(path, lines.lines, lines.numbers, begin, size, lines.broken, unit)


def is_sequential(path: AnyFile) -> bool:
    """Whether `path` has to be read from its start."""
    return codec_of(path.name) is not None


def _fitting(lines: Lines, options: ReadOptions, begin: Begin) -> int:
    fitting = int(np.searchsorted(lines.ends, begin.offset + options.bytes, "right"))
    return max(1, min(options.rows, fitting))


class Writer:
    """Appends lines as they were read; a note becomes one more field at the end of its line."""

    def __init__(self, path: Path, like: Sequence[object], noted: Mapping[str, str] | None = None) -> None:
        self.file = PackedWriter(path)

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
