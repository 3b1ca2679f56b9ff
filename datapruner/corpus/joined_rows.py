"""Rows of several small files as one chunk.

A format reads each file by itself. What it reads whole of one file is joined with what comes after it as long as both
fit into one chunk, so that many small files are no more chunks than one large file. Nothing is cut: a chunk begins
where a format begins one, and hangs on nothing but the rows and the options.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from datapruner.corpus.format import Begin, Note, ReadOptions, Rows, RowWriter
from datapruner.corpus.formats._arrow import ArrowRows
from prunekernels.extras import require


@dataclass(frozen=True)
class JoinedRows:
    """The rows of `parts`, which come from one fragment after another; the first began at `begin`."""

    parts: tuple[Rows, ...]
    begin: Begin

    def __len__(self) -> int:
        return self.starts[-1]

    @cached_property
    def starts(self) -> list[int]:
        """The number of the first row of each part, and of all rows."""
        return [0, *accumulate(map(len, self.parts))]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def broken(self) -> Mapping[int, str]:
        found = zip(self.starts, self.parts, strict=False)
        return {start + index: reason for start, part in found for index, reason in part.broken.items()}

    def source_of(self, index: int) -> object:
        part, inside = self._place(index)
        return part.source_of(inside)

    def take(self, indices: Sequence[int]) -> JoinedRows:
        taken = [part.take(inside) for part, inside, _ in self.split(indices)]
        return JoinedRows(tuple(taken), self.begin)

    def location(self, index: int) -> str:
        part, inside = self._place(index)
        return part.location(inside)

    @cached_property
    def table(self) -> ArrowRows | None:
        """All rows as one table, where they are tables of one schema: it costs less than each by itself."""
        tables = [part.table for part in self.parts if isinstance(part, ArrowRows)]
        if len(tables) < len(self.parts) or not all(
            table.schema.equals(tables[0].schema, check_metadata=True) for table in tables
        ):
            return None
        whole = require("pyarrow", "data").concat_tables(tables)
        return ArrowRows(self.source_of(0), whole, self.begin, self.size)

    def fields(self, names: Sequence[str]) -> list[list[object]]:
        if self.table is not None:
            # which row is wrong, and of which file, its own part says
            with suppress(ValueError):
                return self.table.fields(names)
        found = [part.fields(names) for part in self.parts]
        return [[value for columns in found for value in columns[place]] for place in range(len(names))]

    def vectors(self, name: str) -> np.ndarray | None:
        if self.table is not None:
            return self.table.vectors(name)
        arrays = [array for array in (part.vectors(name) for part in self.parts) if array is not None]
        # of another length in another file: the caller looks for the row
        if len(arrays) < len(self.parts) or len({array.shape[1] for array in arrays}) > 1:
            return None
        return np.concatenate(arrays)

    def contents(self) -> list[bytes]:
        return [content for part in self.parts for content in part.contents()]

    def split(self, indices: Sequence[int]) -> Iterator[tuple[Rows, list[int], slice]]:
        """For each part that has some of `indices`, ascending: it, their numbers in it, their places in `indices`."""
        places = np.searchsorted(np.asarray(indices, dtype=np.int64), self.starts)
        for number, part in enumerate(self.parts):
            first, end = int(places[number]), int(places[number + 1])
            if end > first:
                yield part, [index - self.starts[number] for index in indices[first:end]], slice(first, end)

    def _place(self, index: int) -> tuple[Rows, int]:
        number = int(np.searchsorted(self.starts, index, "right")) - 1
        return self.parts[number], index - self.starts[number]


def join_small(pieces: Iterable[tuple[int, Rows]], options: ReadOptions) -> Iterator[tuple[int, Rows]]:
    """`pieces`, each with the number of its file, joined where they are of several files and fit into one chunk."""
    waiting: list[Rows] = []
    first = last = rows = size = 0
    for number, piece in pieces:
        fits = rows + len(piece) <= options.rows and size + piece.size <= options.bytes
        if waiting and (number == last or not fits):
            yield first, _joined(waiting)
            waiting, rows, size = [], 0, 0
        if not waiting:
            first = number
        waiting.append(piece)
        last, rows, size = number, rows + len(piece), size + piece.size
    if waiting:
        yield first, _joined(waiting)


def _joined(parts: Sequence[Rows]) -> Rows:
    return parts[0] if len(parts) == 1 else JoinedRows(tuple(parts), parts[0].begin)


@dataclass(frozen=True)
class JoinedWriter:
    """Writes rows of one or several fragments with `writer`, which takes those of one at a time."""

    writer: RowWriter

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        if not isinstance(rows, JoinedRows):
            self.writer.write(rows, indices, notes)
            return
        if rows.table is not None:
            self.writer.write(rows.table, indices, notes)
            return
        for part, inside, places in rows.split(indices):
            self.writer.write(part, inside, None if notes is None else notes[places])

    def close(self) -> None:
        self.writer.close()
