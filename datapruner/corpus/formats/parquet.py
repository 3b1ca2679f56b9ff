"""Parquet: rows keep their schema, its metadata included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from datapruner.corpus.format import START, Begin, Limits
from datapruner.corpus.formats import _arrow
from datapruner.corpus.formats._arrow import ArrowRows
from datapruner.corpus.remote_files import AnyFile, RemoteFile
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SUFFIXES = (".parquet", ".pq")
# one row is read whole
LARGEST_ROW = 1 << 30


def read(
    path: AnyFile, limits: Limits, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[ArrowRows]:
    """The rows of `path` from `begin` on, with `columns` only where they are named.

    Every chunk but the last has the same number of rows: as many as fit into the limits by the mean size of a row,
    decoded, in that row group where it is largest.
    """
    arrow = require("pyarrow", "data")
    with _opened(path) as file:
        schema = file.schema_arrow
        # no column at all would be no rows at all
        wanted = _arrow.check_columns(path, schema, columns or ()) or None
        n_rows, first = rows_per_chunk(path, file, limits), begin.offset
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


def rows_per_chunk(path: AnyFile, file: pq.ParquetFile, limits: Limits) -> int:
    """How many rows a chunk of `file` has; does not hang on the columns that are read."""
    # a short dictionary of long texts decodes to far more than it takes
    long = [
        (group, leaf)
        for group, leaf, chunk in _column_chunks(file)
        if chunk.physical_type == "BYTE_ARRAY"
        and chunk.has_dictionary_page
        and limits.rows * chunk.total_uncompressed_size > limits.bytes
    ]
    longest = _longest_entries(path, _stamp(path), tuple(long)) if long else {}
    sizes = [0.0] * file.num_row_groups
    for group, leaf, chunk in _column_chunks(file):
        decoded = chunk.num_values * max(longest.get((group, leaf), 0), _width(file.schema.column(leaf)))
        sizes[group] += max(chunk.total_uncompressed_size, decoded)
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    means = [size / n_rows for size, n_rows in zip(sizes, rows, strict=True) if n_rows]
    largest = max(means, default=1)
    if largest > LARGEST_ROW:
        raise ValueError(f"{path}: want rows of at most {LARGEST_ROW:,} bytes, got {largest:,.0f} decoded")
    return _arrow.rows_per_chunk(limits, largest)


def _column_chunks(file: pq.ParquetFile) -> Iterator[tuple[int, int, pq.ColumnChunkMetaData]]:
    for group in range(file.num_row_groups):
        columns = file.metadata.row_group(group)
        for leaf in range(columns.num_columns):
            yield group, leaf, columns.column(leaf)


def _width(column: pq.ColumnSchema) -> float:
    """Bytes of one decoded number; of a text the place where it begins."""
    widths = {"BOOLEAN": 1 / 8, "INT64": 8, "DOUBLE": 8, "INT96": 8, "FIXED_LEN_BYTE_ARRAY": column.length}
    return widths.get(column.physical_type, 4)


@lru_cache(maxsize=64)
def _longest_entries(path: AnyFile, stamp: object, places: tuple[tuple[int, int], ...]) -> dict[tuple[int, int], int]:
    """Bytes of the longest text in the dictionary of each of the column chunks `places`; one page of each is read."""
    pa, compute = require("pyarrow", "data"), require("pyarrow.compute", "data")
    found = {}
    with _opened(path) as file:
        names = {leaf: file.schema.column(leaf).path for _, leaf in places}
    with _opened(path, tuple(names.values())) as file:
        for group, leaf in places:
            batches = file.iter_batches(batch_size=1, row_groups=[group], columns=[names[leaf]])
            column = next(iter(batches)).column(0)
            while column.type.num_fields:
                column = column.flatten() if hasattr(column.type, "value_type") else column.field(0)
            if pa.types.is_dictionary(column.type) and len(column.dictionary):
                found[group, leaf] = compute.max(compute.binary_length(column.dictionary)).as_py() or 0
    return found


def _stamp(path: AnyFile) -> object:
    return repr(sorted(path.info().items(), key=str)) if isinstance(path, RemoteFile) else path.stat().st_mtime_ns


def schema_of(path: AnyFile) -> pa.Schema:
    """The Arrow schema of `path`."""
    with _opened(path) as file:
        return file.schema_arrow


def _groups_from(file: pq.ParquetFile, row: int) -> tuple[list[int], int]:
    """The row groups from that which has `row` on, and how many rows of the first come before it."""
    first = 0
    for index in range(file.num_row_groups):
        n_rows = file.metadata.row_group(index).num_rows
        if first + n_rows > row:
            return list(range(index, file.num_row_groups)), row - first
        first += n_rows
    return [], 0


@contextmanager
def _opened(path: AnyFile, dictionaries: tuple[str, ...] = ()) -> Iterator[pq.ParquetFile]:
    pa, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    with ExitStack() as stack:
        # arrow reads local files by itself, without Python between, and a page at a time instead of a row group
        try:
            if isinstance(path, RemoteFile):
                remote = stack.enter_context(path.open())
                file = parquet.ParquetFile(remote, read_dictionary=[*dictionaries])
            else:
                file = parquet.ParquetFile(path, read_dictionary=[*dictionaries], pre_buffer=False, buffer_size=1 << 20)
            stack.enter_context(file)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: want a Parquet file: {error}") from error
        yield file


class Writer(_arrow.Writer):
    """Appends rows in the schema of the file `like`."""

    def __init__(self, path: Path, like: AnyFile, noted: Sequence[str] | None = None) -> None:
        super().__init__(path, schema_of(like), noted)
