"""Parquet: rows keep their schema, its metadata included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from datapruner.corpus.format import START, Begin, Limits
from datapruner.corpus.formats import _arrow
from datapruner.corpus.formats._arrow import ArrowRows
from datapruner.corpus.remote_files import AnyFile, RemoteFile
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".pq")


def read(
    path: AnyFile, limits: Limits, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[ArrowRows]:
    """The rows of `path` from `begin` on, with `columns` only where they are named.

    Every chunk but the last has the same number of rows: as many as fit into the limits by the mean size of a row,
    uncompressed, in that row group where it is largest.
    """
    arrow = require("pyarrow", "data")
    with _opened(path) as file:
        schema = file.schema_arrow
        _arrow.check_columns(path, schema.names, columns or ())
        # no column at all would be no rows at all
        wanted = [*dict.fromkeys(columns)] if columns else None
        n_rows, first = rows_per_chunk(file, limits), begin.offset
        groups, skipped = _groups_from(file, first)
        batches: list[pa.RecordBatch] = []
        try:
            for batch in file.iter_batches(batch_size=n_rows, row_groups=groups, columns=wanted):
                batches.append(batch.slice(min(skipped, len(batch))))
                skipped -= min(skipped, len(batch))
                while sum(map(len, batches)) >= n_rows:
                    whole = arrow.Table.from_batches(batches)
                    yield ArrowRows(path, whole.slice(0, n_rows), Begin(first, first + 1), schema)
                    first, batches = first + n_rows, whole.slice(n_rows).to_batches()
        except (arrow.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(f"{path}: cannot be read as Parquet after row {first}: {error}") from error
        if sum(map(len, batches)):
            yield ArrowRows(path, arrow.Table.from_batches(batches), Begin(first, first + 1), schema)


def rows_per_chunk(file: pa.parquet.ParquetFile, limits: Limits) -> int:
    """How many rows a chunk of `file` has; does not hang on the columns that are read."""
    groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
    means = [group.total_byte_size / group.num_rows for group in groups if group.num_rows]
    return _arrow.rows_per_chunk(limits, max(means, default=1))


def schema_of(path: AnyFile) -> pa.Schema:
    """The Arrow schema of `path`."""
    with _opened(path) as file:
        return file.schema_arrow


def _groups_from(file: pa.parquet.ParquetFile, row: int) -> tuple[list[int], int]:
    """The row groups from that which has `row` on, and how many rows of the first come before it."""
    first = 0
    for index in range(file.num_row_groups):
        n_rows = file.metadata.row_group(index).num_rows
        if first + n_rows > row:
            return list(range(index, file.num_row_groups)), row - first
        first += n_rows
    return [], 0


@contextmanager
def _opened(path: AnyFile) -> Iterator[pa.parquet.ParquetFile]:
    pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    with ExitStack() as stack:
        # arrow reads local files by itself, without Python between
        opened = stack.enter_context(path.open()) if isinstance(path, RemoteFile) else path
        try:
            file = stack.enter_context(pq.ParquetFile(opened))
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: want a Parquet file: {error}") from error
        yield file


class Writer(_arrow.Writer):
    """Appends rows in the schema of the file `like`."""

    def __init__(self, path: Path, like: AnyFile, noted: Sequence[str] | None = None) -> None:
        super().__init__(path, schema_of(like), noted)
