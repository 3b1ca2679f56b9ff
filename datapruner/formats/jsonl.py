"""JSON lines: one object a line, UTF-8. Blank lines are skipped; every other line is kept byte for byte."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datapruner.formats import Note, Rows, free_name

SUFFIXES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class JsonlRows:
    """Lines of `path` and their numbers from 1."""

    path: Path
    lines: list[bytes]
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, index: int) -> str:
        return f"{self.path}, line {self.numbers[index]}"

    def fields(self, names: Sequence[str]) -> list[list[object]]:
        values: list[list[object]] = [[] for _ in names]
        for index in range(len(self)):
            row = self.parsed(index)
            for name, column in zip(names, values, strict=True):
                if name not in row:
                    raise ValueError(f"{self.place(index)}: want a field {name!r}, got {', '.join(row) or 'none'}")
                column.append(row[name])
        return values

    def parsed(self, index: int) -> dict[str, object]:
        """The object in line `index`."""
        try:
            # only the very first line of a file may carry a byte order mark
            text = self.lines[index].decode("utf-8-sig" if self.numbers[index] == 1 else "utf-8")
            row = json.loads(text)
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.place(index)}: want UTF-8, got byte {error.object[error.start]:#04x}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.place(index)}: want a JSON object: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{self.place(index)}: want a JSON object, got {type(row).__name__}")
        return row


def read(path: Path, chunk_rows: int, columns: Sequence[str] | None = None) -> Iterator[JsonlRows]:
    """The rows of `path`, at most `chunk_rows` at a time; `columns` only matters to formats that have them."""
    lines: list[bytes] = []
    numbers: list[int] = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            lines.append(line)
            numbers.append(number)
            if len(lines) == chunk_rows:
                yield JsonlRows(path, lines, numbers)
                lines, numbers = [], []
    if lines:
        yield JsonlRows(path, lines, numbers)


class Writer:
    """Appends lines as they were read; a note becomes one more field at the end of its line."""

    def __init__(self, path: Path, like: Path, noted: Sequence[str] | None = None) -> None:
        self.file = open(path, "wb")  # noqa: SIM115

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        if not isinstance(rows, JsonlRows):
            raise TypeError(f"want rows of JSON lines, got {type(rows).__name__}")
        for place, index in enumerate(indices):
            line = rows.lines[index]
            if notes is not None:
                line = _with_note(line, rows, index, notes[place])
            self.file.write(line if line.endswith(b"\n") else line + b"\n")

    def close(self) -> None:
        self.file.close()


def _with_note(line: bytes, rows: JsonlRows, index: int, note: Note) -> bytes:
    # a line without these letters cannot have the field; only the others are parsed
    name = free_name(list(rows.parsed(index))) if b"prunekit" in line or b"\\u00" in line else free_name([])
    body = line.rstrip()
    added = f", {json.dumps(name)}: {json.dumps(dataclasses.asdict(note), ensure_ascii=False)}}}"
    return body[:-1].rstrip() + added.encode() + line[len(body) :]
