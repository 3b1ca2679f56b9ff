"""Tables of comma- or tab-separated values (RFC 4180): the first record names the fields, every value is a text.

Where a number is wanted of a field, its text is read as one. Rows are written as such tables again, each value as it
was, quoted where it must be; a note is one more field, as JSON.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datapruner.corpus.format import START, Begin, Note, ReadOptions, Rows, free_name
from datapruner.corpus.formats import jsonl
from datapruner.corpus.formats._lines import LONGEST_LINE, Lines
from datapruner.corpus.formats._packed import BrokenDataError, PackedWriter, blocks, codec_of, packed
from datapruner.corpus.formats.jsonl import JsonlRows
from datapruner.corpus.remote_files import AnyFile

SUFFIXES = packed(".csv", ".tsv")
# records that are handed on at once
STEP = 1024


def read(
    path: AnyFile, options: ReadOptions, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[JsonlRows]:
    """The rows of `path` from `begin` on."""
    return jsonl.rows_of(path, _records(path, begin, options.skip), options, begin)


def is_sequential(path: AnyFile) -> bool:
    """Whether `path` has to be read from its start."""
    return codec_of(path.name) is not None


def check(paths: Sequence[AnyFile], columns: Sequence[str]) -> None:
    """Raise ValueError unless each of the files has fields of unlike names, and `columns` among them."""
    for path in paths:
        names = names_of(path)
        for name in columns:
            if name not in names:
                raise ValueError(f"{path}: want a column {name!r}, got {', '.join(names) or 'none'}")


def names_of(path: AnyFile) -> list[str]:
    """The names of the fields of `path`; raises ValueError where two are alike or there are none."""
    try:
        names = next(_Reader(path, START, skip=False))
    except StopIteration:
        raise ValueError(f"{path}: want names of fields in the first line, got an empty file") from None
    except csv.Error as error:
        raise ValueError(f"{path}, line 1: want names of fields: {error}") from error
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: want columns of unlike names, got {twice[0]!r} {names.count(twice[0])} times")
    return names


class _Reader:
    """Records of `path` from `begin` on; `end` is the byte behind the last, `problem` what is wrong with it.

    `broken` says why no more came.
    """

    def __init__(self, path: AnyFile, begin: Begin, skip: bool) -> None:
        # the module's own bound, 128 KiB for all that use it, is below many a text
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
        self.path, self.skip, self.first = path, skip, begin.number
        self.end, self.broken, self.problem = begin.offset, "", ""
        delimiter = "\t" if ".tsv" in path.name.lower()[-9:] else ","
        self.records = csv.reader(self._lines(begin), delimiter=delimiter, strict=True)

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> list[str]:
        self.problem = ""
        return next(self.records)

    def line(self) -> int:
        """The number of the line behind those that were read."""
        return self.first + self.records.line_num

    def _lines(self, begin: Begin) -> Iterator[str]:
        rest = b""
        try:
            for block in blocks(self.path, begin.offset, self.skip):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    yield self._decoded(line + b"\n")
        except BrokenDataError as error:
            if not self.skip:
                raise ValueError(f"{self.path}, after line {self.line() - 1}: {error}") from error
            self.broken = str(error)
        if rest:
            yield self._decoded(rest)

    def _decoded(self, line: bytes) -> str:
        self.end += len(line)
        try:
            return line.decode("utf-8-sig" if self.line() == 1 else "utf-8")
        except UnicodeDecodeError as error:
            self.problem = f"want UTF-8, got byte {error.object[error.start]:#04x}"
            if not self.skip:
                raise ValueError(f"{self.path}, line {self.line()}: {self.problem}") from error
            return line.decode(errors="replace")


@dataclass
class _Found:
    """Records as lines of JSON, until they are handed on."""

    lines: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)

    def add(self, row: Mapping[str, str], number: int, end: int, reason: str) -> None:
        if reason:
            self.broken[len(self.lines)] = reason
        self.lines.append(json.dumps(row, ensure_ascii=False).encode())
        self.numbers.append(number)
        self.ends.append(end)

    def as_lines(self) -> Lines:
        return Lines(self.lines, np.array(self.numbers), np.array(self.ends), self.broken)


def _records(path: AnyFile, begin: Begin, skip: bool) -> Iterator[Lines]:
    names, reader, found = names_of(path), _Reader(path, begin, skip), _Found()
    if begin == START:
        next(reader, None)
    while True:
        number, reason, values = reader.line(), "", []
        try:
            values = next(reader)
            wrong = values and len(values) != len(names)
            reason = f"want {len(names)} values, got {len(values)}" if wrong else reader.problem
        except StopIteration:
            break
        except csv.Error as error:
            reason = f"want separated values: {error}"
        if reason and not skip:
            raise ValueError(f"{path}, line {number}: {reason}")
        # without either it is a blank line
        if values or reason:
            found.add(dict(zip(names, values, strict=False)), number, reader.end, reason)
        if len(found.lines) == STEP:
            yield found.as_lines()
            found = _Found()
    if reader.broken:
        found.add({}, reader.line(), reader.end, reader.broken)
    if found.lines:
        yield found.as_lines()


class Writer:
    """Appends rows under the names of all files `like`; a note becomes one more field, as JSON."""

    def __init__(self, path: Path, like: Sequence[AnyFile], noted: Mapping[str, str] | None = None) -> None:
        self.names = [*dict.fromkeys(name for file in like for name in names_of(file))]
        self.note = None if noted is None else free_name(self.names)
        self.file = PackedWriter(path)
        self.delimiter = "\t" if ".tsv" in path.name.lower()[-9:] else ","
        self._append([[*self.names, *([] if self.note is None else [self.note])]])

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        if not isinstance(rows, JsonlRows):
            raise TypeError(f"want rows of a table, got {type(rows).__name__}")
        found = []
        for place, index in enumerate(indices):
            row = rows.parsed(index)
            note = [] if notes is None else [json.dumps(vars(notes[place]), ensure_ascii=False)]
            found.append([*(str(row.get(name, "")) for name in self.names), *note])
        self._append(found)

    def _append(self, records: Sequence[Sequence[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, delimiter=self.delimiter, lineterminator="\n").writerows(records)
        self.file.write(text.getvalue().encode())

    def close(self) -> None:
        self.file.close()
