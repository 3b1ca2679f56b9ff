"""Rows of an Arrow table: Parquet files, `datasets` data sets and arrays are read as such and written as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datapruner.corpus import field_paths
from datapruner.corpus.format import Begin, Limits, Note, Rows, free_name
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ArrowRows:
    """A table of consecutive rows of `source`, the first of which is row number `begin.number` from 1.

    `whole` is the schema of all columns, of which `table` may have some.
    """

    source: object
    table: pa.Table
    begin: Begin
    whole: pa.Schema

    def __len__(self) -> int:
        return self.table.num_rows

    def only(self, index: int) -> ArrowRows:
        begin = Begin(self.begin.offset + index, self.begin.number + index)
        return replace(self, table=self.table.slice(index, 1), begin=begin)

    def location(self, index: int) -> str:
        return f"{self.source}, row {self.begin.number + index}"

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


def rows_per_chunk(limits: Limits, row_bytes: float) -> int:
    """How many rows of `row_bytes` bytes each fit; the bytes are rounded up to a power of two, so that the count does
    not hang on a bit more or less in the way the rows are held."""
    rounded = 1 << max(0, int(np.ceil(np.log2(max(row_bytes, 1)))))
    return max(1, min(limits.rows, limits.bytes // rounded))


class Writer:
    """Appends rows in the schema of the first of them; notes about `noted` scores become one more struct column."""

    def __init__(self, path: Path, schema: pa.Schema, noted: Sequence[str] | None = None) -> None:
        pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        self.schema = schema
        self.note = None
        if noted is not None:
            scores = pa.struct([(name, pa.float32()) for name in noted])
            kinds = [("row", pa.int64()), ("uid", pa.string()), ("reason", pa.string())]
            # parquet has no struct without fields
            kind = pa.struct([*kinds, ("scores", scores)] if noted else kinds)
            self.note = pa.field(free_name(self.schema.names), kind)
            self.schema = self.schema.append(self.note)
        self.file = pq.ParquetWriter(path, self.schema, compression="zstd")

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
            fitting = table.cast(self.schema)
        except (pa.ArrowException, ValueError) as error:
            raise ValueError(f"{rows.location(0)} and after: want the columns of the first file: {error}") from error
        self.file.write_table(fitting)

    def close(self) -> None:
        self.file.close()
