"""Rows of an Arrow table: Parquet files, `datasets` data sets and arrays are read as such and written as Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datapruner.corpus import field_paths
from datapruner.corpus.format import Begin, Note, ReadOptions, Rows, free_name
from datapruner.corpus.formats._schema import fitted
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import Table as ArrowTable

# of a row group that is written
GROUP_ROWS, GROUP_BYTES = 1 << 17, 64 << 20


@dataclass(frozen=True)
class ArrowRows:
    """A table of rows of `source`, of consecutive ones from row number `begin.number` from 1, unless `numbers` says."""

    source: object
    table: pa.Table
    begin: Begin
    size: int
    numbers: np.ndarray | None = None
    broken: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.table.num_rows

    def take(self, indices: Sequence[int]) -> ArrowRows:
        pa, wanted = require("pyarrow", "data"), np.asarray(indices, dtype=np.int64)
        numbers = self.begin.number + np.arange(len(self)) if self.numbers is None else self.numbers
        return replace(self, table=self.table.take(pa.array(wanted)), numbers=numbers[wanted])

    def source_of(self, index: int) -> object:
        return self.source

    def location(self, index: int) -> str:
        number = self.begin.number + index if self.numbers is None else self.numbers[index]
        return f"{self.source}, row {number}"

    def fields(self, names: Sequence[str]) -> list[list[object]]:
        return [self._values(name) for name in names]

    def _column(self, name: str) -> tuple[pa.ChunkedArray, list[str]]:
        check_columns(self.source, self.table.schema, [name])
        return field_paths.column_at(name, self.table)

    def _values(self, name: str) -> list[object]:
        pa = require("pyarrow", "data")
        column, steps = self._column(name)
        try:
            # through numpy strings come several times faster
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                return column.to_numpy().tolist()
            values = column.to_pylist()
            return [self._inside(index, value, name, steps) for index, value in enumerate(values)] if steps else values
        except (UnicodeDecodeError, pa.ArrowException) as error:
            raise ValueError(f"{self.location(0)} and after: want UTF-8 in field {name!r}: {error}") from error

    def _inside(self, index: int, value: object, name: str, steps: Sequence[str]) -> object:
        try:
            return field_paths.value_inside(value, steps)
        except KeyError as error:
            raise ValueError(f"{self.location(index)}: want a field {name!r}, got none at {error.args[0]!r}") from None

    def vectors(self, name: str) -> np.ndarray | None:
        pa = require("pyarrow", "data")
        column, steps = self._column(name)
        if steps:
            return None
        lists = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(lists, pa.ExtensionArray):
            lists = lists.storage
        kind = lists.type
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            return None if lists.null_count else lists.to_numpy(zero_copy_only=False).reshape(-1, 1)
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
            return None
        number = pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
        # a missing list or number, or unequal lengths: the caller looks for the row
        if not number or lists.null_count or not len(lists):
            return None
        if pa.types.is_fixed_size_list(kind):
            length = kind.list_size
        else:
            lengths = np.diff(lists.offsets.to_numpy())
            length = int(lengths[0])
            if (lengths != length).any():
                return None
        flat = lists.flatten()
        return None if flat.null_count else flat.to_numpy(zero_copy_only=False).reshape(len(lists), length)

    def contents(self) -> list[bytes]:
        rows = self.table.to_pylist()
        return [repr(list(row.items())).encode("utf-8", "surrogatepass") for row in rows]


def check_columns(source: object, schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """As much of each of `names` as can be read apart, none twice; raises ValueError where `schema` lacks one."""
    paths: dict[str, None] = {}
    for name in names:
        try:
            paths[field_paths.column_path(name, schema)] = None
        except KeyError:
            known = ", ".join(schema.names) or "none"
            raise ValueError(f"{source}: want a column {name!r}, got {known}") from None
    return [*paths]


def chosen(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """Those columns of `table` that `columns` are in; all where none are named."""
    roots = dict.fromkeys(field_paths.root_of(name, table.column_names)[0] for name in columns or ())
    return table.select([*roots]) if roots else table


def rows_per_chunk(options: ReadOptions, row_bytes: float) -> int:
    """How many rows of `row_bytes` bytes each fit."""
    return max(1, min(options.rows, options.bytes // size_of(1, row_bytes)))


def size_of(rows: int, row_bytes: float) -> int:
    """Bytes of `rows` rows; those of a row are rounded up to a power of two, so that nothing hangs on a bit more or
    less in the way the rows are held."""
    return rows * (1 << max(0, int(np.ceil(np.log2(max(row_bytes, 1))))))


def joined_steps(tables: Iterable[pa.Table], options: ReadOptions, begin: Begin) -> Iterator[pa.Table]:
    """The rows of `tables` in chunks, from `begin` on: as many steps of each as fit.

    Always gone through from the start: begun elsewhere the rows would come in other steps.
    """
    join = require("pyarrow", "data").concat_tables
    waiting: list[pa.Table] = []
    first = 0
    for table in _steps(tables, options):
        room = options.rows - sum(map(len, waiting))
        full = waiting and sum(part.nbytes for part in waiting) + table.nbytes > options.bytes
        if full or len(table) > room:
            cut = 0 if full else room
            whole = join([*waiting, table.slice(0, cut)])
            if first >= begin.offset:
                yield whole
            first, waiting = first + len(whole), []
            table = table.slice(cut)
        waiting.append(table)
    if waiting and first >= begin.offset:
        yield join(waiting)


def _steps(tables: Iterable[pa.Table], options: ReadOptions) -> Iterator[pa.Table]:
    for table in tables:
        if len(table):
            fitting = rows_per_chunk(options, table.nbytes / len(table))
            for first in range(0, len(table), fitting):
                yield table.slice(first, fitting)


class Writer:
    """Appends rows in `schema`, in row groups of a useful size; notes become one more struct column, whose scores are
    `noted` with Arrow's names of their types."""

    def __init__(self, path: Path, schema: pa.Schema, noted: Mapping[str, str] | None = None) -> None:
        pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        self.schema = schema
        self.note = None
        if noted is not None:
            scores = pa.struct([(name, pa.type_for_alias(kind)) for name, kind in noted.items()])
            kinds = [("row", pa.int64()), ("uid", pa.string()), ("reason", pa.string())]
            # parquet has no struct without fields
            kind = pa.struct([*kinds, ("scores", scores)] if noted else kinds)
            self.note = pa.field(free_name(self.schema.names), kind)
            self.schema = self.schema.append(self.note)
        self.file = pq.ParquetWriter(path, self.schema, compression="zstd")
        # what the next row group has by now
        self.waiting: list[ArrowTable] = []
        self.rows = self.bytes = 0

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        if not isinstance(rows, ArrowRows):
            raise TypeError(f"want rows of a table, got {type(rows).__name__}")
        pa = require("pyarrow", "data")
        if not indices:
            return
        table = rows.table.take(pa.array(indices, pa.int64()))
        if self.note is not None and notes is not None:
            values = [{"row": n.row, "uid": n.uid, "reason": n.reason, "scores": n.scores} for n in notes]
            table = table.append_column(self.note, pa.array(values, self.note.type))
        try:
            fitting = fitted(table, self.schema)
        except (pa.ArrowException, ValueError) as error:
            raise ValueError(f"{rows.location(0)} and after: want values of the joint columns: {error}") from error
        self.waiting.append(fitting)
        self.rows, self.bytes = self.rows + len(fitting), self.bytes + fitting.nbytes
        if self.rows >= GROUP_ROWS or self.bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self.waiting:
            table = require("pyarrow", "data").concat_tables(self.waiting)
            self.file.write_table(table, row_group_size=len(table))
        self.waiting, self.rows, self.bytes = [], 0, 0

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self.file.close()
