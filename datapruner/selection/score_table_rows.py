"""The rows of a score table, read part by part in threads, and only what is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from datapruner.corpus import checked_parquet
from datapruner.corpus.chunk_reader import ChunkReader
from datapruner.corpus.chunks import load_chunk_offsets
from datapruner.corpus.uids import splitmix64
from datapruner.scoring.manifest import ROWS
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.worker import refuse_other_rows
from datapruner.selection.groups import Groups, smallest_type

if TYPE_CHECKING:
    import pyarrow as pa

Found = TypeVar("Found")


class ScoreTableRows:
    """The rows of `table`; lots and fields that were read once are kept. Vectors that it lacks are its source's."""

    def __init__(self, table: ScoreTable) -> None:
        self.table = table
        chunks = table.manifest["chunks"] or 0
        lengths = [*_threads(self._length, range(chunks))]
        if sum(lengths) != table.n_rows:
            raise ValueError(f"{table.path / ROWS}: want {table.n_rows} rows, got {sum(lengths)}")
        # part number p has the rows from starts[p] up to starts[p + 1]
        self.starts = np.append(0, np.cumsum(np.array(lengths, dtype=np.int64)))
        self._fields: dict[tuple[str, str], np.ndarray] = {}
        self._lots: dict[int, np.ndarray] = {}
        self._drawn = np.zeros(0, dtype=bool)

    def lots(self, seed: int, at: np.ndarray | None) -> np.ndarray:
        if seed not in self._lots:
            # no part of it takes memory before it is written
            self._lots = {seed: np.empty(self.table.n_rows, dtype=np.uint64)}
            self._drawn = np.zeros(len(self.starts) - 1, dtype=bool)
        lots = self._lots[seed]
        touched = self._touched(at)
        missing = touched[~self._drawn[touched]].tolist()
        self._fill(lots, ROWS, "key", missing, lambda keys: splitmix64(keys, seed))
        self._drawn[missing] = True
        return lots if at is None else lots[at]

    def field(self, column: str, name: str, at: np.ndarray | None) -> np.ndarray:
        if (column, name) not in self._fields:
            self._fields[column, name] = self.read(column, name)
        values = self._fields[column, name]
        return values if at is None else values[at]

    def vectors(self, column: str, at: np.ndarray | None) -> np.ndarray:
        parts: list[np.ndarray] = []
        read = self._vectors_of_part(column)
        places = np.arange(self.table.n_rows) if at is None else at
        order = np.argsort(places, kind="stable")
        ends = np.searchsorted(places[order], self.starts)
        for chunk in range(len(self.starts) - 1):
            rows = places[order[ends[chunk] : ends[chunk + 1]]]
            if len(rows):
                parts.append(read(chunk)[rows - self.starts[chunk]])
        if not parts:
            return np.empty((0, 1), dtype=np.float32)
        found = np.concatenate(parts)
        placed = np.empty_like(found)
        placed[order] = found
        return placed

    def _vectors_of_part(self, column: str) -> Callable[[int], np.ndarray]:
        """What reads the vectors of a part: a column of the table, or a field of the source."""
        source = self.table.source
        if source is None or column in self.table.vector_columns:
            return partial(self.table.vectors, column)
        chunks = ChunkReader(source, tuple(load_chunk_offsets(self.table.path)), (column,))

        def read(number: int) -> np.ndarray:
            chunk = chunks(number)
            refuse_other_rows(source.parsed(chunk), self.part(ROWS, number, "uid").to_pylist())
            return source.vectors(chunk, column)

        return read

    def state(self, column: str) -> Mapping[str, np.ndarray]:
        return self.table.state(column)

    def scores(self, column: str) -> np.ndarray:
        """The scores of `column`, float32 [N]; raises where the table has none."""
        if column not in self.table.score_columns:
            known = ", ".join(self.table.score_columns) or "none"
            raise ValueError(f"{self.table.path} has no finished column {column!r}; finished: {known}")
        return self.read(column, "score")

    def read(self, column: str, name: str) -> np.ndarray:
        """The numbers of one field of `column`, [N] in the type that its parts have."""
        first = self.part(column, 0, name)
        values = np.empty(self.table.n_rows, dtype=first.type.to_pandas_dtype())
        self._fill(values, column, name, range(len(self.starts) - 1))
        return values

    @property
    def n_rows(self) -> int:
        return self.table.n_rows

    def has_every_row(self, column: str) -> bool:
        return self.table.has_every_row(column)

    def groups_by(self, column: str) -> Groups:
        """The group of every row by the group field of the input, or by a column whose details are groups."""
        group = self.table.manifest["input"]["fields"]["group"]
        if column == group:
            return self._groups(ROWS)
        if column in self.table.score_columns and self.table.has_detail(column, "group"):
            return self._groups(column)
        has = "no group column" if group is None else f"the group column {group!r}"
        raise ValueError(
            f"{self.table.path} was scored with {has}, got per={column!r}: score {column}=group:name={column} too"
        )

    def _groups(self, of: str) -> Groups:
        """Names stand in their order, so that nothing hangs on the order of the rows."""
        numbers: dict[str, int] = {}
        ids = np.empty(self.table.n_rows, dtype=np.uint8)
        chunks = range(len(self.starts) - 1)
        for chunk, column in zip(chunks, _threads(lambda chunk: self.part(of, chunk, "group"), chunks), strict=True):
            encoded = column.combine_chunks()
            found = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
            ids = ids.astype(smallest_type(max(255, len(numbers))), copy=False)
            ids[self.starts[chunk] : self.starts[chunk + 1]] = np.array(found)[encoded.indices.to_numpy()]
        names = sorted(numbers)
        place = {name: number for number, name in enumerate(names)}
        renumber = np.array([place[name] for name in numbers], dtype=ids.dtype)
        return Groups(renumber[ids], tuple(names))

    def part(self, column: str, chunk: int, name: str) -> pa.ChunkedArray:
        """One field of one part, refused where its length is not that of the rows; strings come as a dictionary."""
        path = self.table.part(column, chunk)
        values = self.table.read_part(column, chunk, name)
        wanted = self.starts[chunk + 1] - self.starts[chunk]
        if values.null_count and not self.table.has_every_row(column):
            # rows that were not scored; a number says so where it can
            values = values.fill_null(-1) if str(values.type).startswith(("int", "dictionary")) else values
        elif len(values) != wanted or values.null_count:
            raise ValueError(f"{path}: want {wanted} rows, got {len(values)}, {values.null_count} of them empty")
        return values

    def _length(self, chunk: int) -> int:
        path = self.table.part(ROWS, chunk)
        try:
            return checked_parquet.n_rows(path)
        except FileNotFoundError as error:
            raise ValueError(f"{path}: want a part of the rows: {error}") from error

    def _touched(self, at: np.ndarray | None) -> np.ndarray:
        """The numbers of the parts that have rows of `at`, which need not be in order."""
        parts = np.arange(len(self.starts) - 1)
        if at is None:
            return parts
        if len(at) > 1 and (at[1:] < at[:-1]).any():
            at = np.sort(at)
        return parts[np.diff(np.searchsorted(at, self.starts)) > 0]

    def _fill(
        self,
        values: np.ndarray,
        column: str,
        name: str,
        chunks: Sequence[int],
        change: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        def fill(chunk: int) -> None:
            start = self.starts[chunk]
            for piece in self.part(column, chunk, name).chunks:
                found = piece.to_numpy(zero_copy_only=False)
                values[start : start + len(piece)] = found if change is None else change(found)
                start += len(piece)

        for _ in _threads(fill, chunks):
            pass


def _threads(run: Callable[[int], Found], numbers: Sequence[int]) -> Iterable[Found]:
    """`run` of each number, in order; a few at a time."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(run, numbers)
