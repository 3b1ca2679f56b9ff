"""Parquet: rows keep their schema, its metadata included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datapruner.extras import require
from datapruner.formats import Note, Rows, free_name

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".pq")


@dataclass(frozen=True)
class ParquetRows:
    """A table of consecutive rows of `path`, of which `first` come before."""

    path: Path
    table: pa.Table
    first: int

    def __len__(self) -> int:
        return self.table.num_rows

    def place(self, index: int) -> str:
        return f"{self.path}, row {self.first + index + 1}"

    def fields(self, names: Sequence[str]) -> list[list[object]]:
        try:
            return [self.table.column(name).to_pylist() for name in names]
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.place(0)} and after: want UTF-8: {error}") from error


def read(path: Path, chunk_rows: int, columns: Sequence[str] | None = None) -> Iterator[ParquetRows]:
    """The rows of `path`, at most `chunk_rows` at a time, with `columns` only where they are named."""
    pa = require("pyarrow")
    file = _open(path)
    for name in columns or ():
        if name not in file.schema_arrow.names:
            known = ", ".join(file.schema_arrow.names) or "none"
            raise ValueError(f"{path}: want a column {name!r}, got {known}")
    first, wanted = 0, None if columns is None else [*dict.fromkeys(columns)]
    try:
        for batch in file.iter_batches(batch_size=chunk_rows, columns=wanted):
            yield ParquetRows(path, pa.Table.from_batches([batch]), first)
            first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read as Parquet after row {first}: {error}") from error


def _open(path: Path) -> pa.parquet.ParquetFile:
    pa, pq = require("pyarrow"), require("pyarrow.parquet")
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: want a Parquet file: {error}") from error


class Writer:
    """Appends rows in the schema of the file `like`; notes about `noted` scores become one more struct column."""

    def __init__(self, path: Path, like: Path, noted: Sequence[str] | None = None) -> None:
        pa, pq = require("pyarrow"), require("pyarrow.parquet")
        self.schema = _open(like).schema_arrow
        self.field = None
        if noted is not None:
            scores = pa.struct([(name, pa.float32()) for name in noted])
            kinds = [("row", pa.int64()), ("uid", pa.string()), ("reason", pa.string())]
            # parquet has no struct without fields
            kind = pa.struct([*kinds, ("scores", scores)] if noted else kinds)
            self.field = pa.field(free_name(self.schema.names), kind)
            self.schema = self.schema.append(self.field)
        self.file = pq.ParquetWriter(path, self.schema, compression="zstd")

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        if not isinstance(rows, ParquetRows):
            raise TypeError(f"want rows of Parquet, got {type(rows).__name__}")
        pa = require("pyarrow")
        table = rows.table.take(pa.array(indices, pa.int64()))
        if self.field is not None and notes is not None:
            values = [{"row": n.row, "uid": n.uid, "reason": n.reason, "scores": n.scores} for n in notes]
            table = table.append_column(self.field, pa.array(values, self.field.type))
        if table.num_rows:
            self.file.write_table(table.cast(self.schema))

    def close(self) -> None:
        self.file.close()
