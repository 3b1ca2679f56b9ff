"""Parquet: rows keep their schema, its metadata included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from datapruner.corpus.format import START, Begin, ReadOptions
from datapruner.corpus.formats import _arrow
from datapruner.corpus.formats._arrow import ArrowRows
from datapruner.corpus.formats._schema import check_names, joint_schema, plain_schema, plain_table
from datapruner.corpus.remote_files import AnyFile, RemoteFile
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SUFFIXES = (".parquet", ".pq")
# one row is read whole
LARGEST_ROW = 1 << 30
# of the bytes of a chunk this share is not looked into
SMALL = 16
# footers that are kept: those of small files are small
CACHED = 1 << 12


def read(
    path: AnyFile, options: ReadOptions, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[ArrowRows]:
    """The rows of `path` from `begin` on, with `columns` only where they are named.

    Every chunk but the last has the same number of rows: as many as fit into the limits by the mean size of a row,
    decoded, in that row group where it is largest.
    """
    arrow = require("pyarrow", "data")
    stamp = _stamp(path)
    footer = _footer(path, stamp)
    wanted = footer.chosen(path, columns)
    plain = (lambda table: table) if footer.is_plain else plain_table
    largest, first = _largest_row(path, stamp, options), begin.offset
    n_rows = _arrow.rows_per_chunk(options, largest)
    groups, skipped = _groups_from(footer.metadata, first)
    with _opened(path, footer=footer) as file:
        batches: list[pa.RecordBatch] = []
        try:
            if groups and not first and footer.metadata.num_rows <= n_rows:
                # a small file: to start threads takes longer than to read it
                table = plain(file.read_row_groups(groups, columns=wanted, use_threads=False))
                yield ArrowRows(path, table, begin, _arrow.size_of(len(table), largest))
                return
            for batch in file.iter_batches(n_rows, row_groups=groups, columns=wanted, use_threads=True):
                batches.append(batch.slice(min(skipped, len(batch))))
                skipped -= min(skipped, len(batch))
                while sum(map(len, batches)) >= n_rows:
                    whole = arrow.Table.from_batches(batches)
                    table = plain(whole.slice(0, n_rows))
                    yield ArrowRows(path, table, Begin(first, first + 1), _arrow.size_of(n_rows, largest))
                    first, batches = first + n_rows, whole.slice(n_rows).to_batches()
        except (arrow.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(f"{path}: cannot be read as Parquet after row {first}: {error}") from error
        if left := sum(map(len, batches)):
            table = plain(arrow.Table.from_batches(batches))
            yield ArrowRows(path, table, Begin(first, first + 1), _arrow.size_of(left, largest))


def check(paths: Sequence[AnyFile], columns: Sequence[str]) -> None:
    """Raise ValueError unless the files have one schema together, and each of them `columns`."""
    schemas = [(path, schema_of(path)) for path in paths]
    joint_schema(schemas)
    last = None
    for path, schema in schemas:
        # of many files most have the schema of the one before
        if last is None or not schema.equals(last):
            _arrow.check_columns(path, schema, columns)
        last = schema


def joint_schema_of(paths: Sequence[AnyFile]) -> pa.Schema:
    """The schema of all of `paths`."""
    return joint_schema((path, schema_of(path)) for path in paths)


@lru_cache(maxsize=CACHED)
def _largest_row(path: AnyFile, stamp: object, options: ReadOptions) -> float:
    """Mean bytes of a row, decoded, in the row group where they are most; hangs on no column that is read."""
    # a short dictionary of long texts decodes to far more than it takes, in a file of few rows to little all the same
    metadata = _footer(path, stamp).metadata
    most_rows = min(options.rows, metadata.num_rows)
    long = [
        (group, leaf)
        for group, leaf, chunk in _column_chunks(metadata)
        if chunk.physical_type == "BYTE_ARRAY"
        and chunk.has_dictionary_page
        and most_rows * chunk.total_uncompressed_size > options.bytes // SMALL
    ]
    longest = _longest_entries(path, long) if long else {}
    sizes = [0.0] * metadata.num_row_groups
    for group, leaf, chunk in _column_chunks(metadata):
        decoded = chunk.num_values * max(longest.get((group, leaf), 0), _width(metadata.schema.column(leaf)))
        sizes[group] += max(chunk.total_uncompressed_size, decoded)
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    means = [size / n_rows for size, n_rows in zip(sizes, rows, strict=True) if n_rows]
    largest = max(means, default=1)
    if largest > LARGEST_ROW:
        raise ValueError(f"{path}: want rows of at most {LARGEST_ROW:,} bytes, got {largest:,.0f} decoded")
    return largest


def _column_chunks(metadata: pq.FileMetaData) -> Iterator[tuple[int, int, pq.ColumnChunkMetaData]]:
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        for leaf in range(columns.num_columns):
            yield group, leaf, columns.column(leaf)


def _width(column: pq.ColumnSchema) -> float:
    """Bytes of one decoded number; of a text the place where it begins."""
    widths = {"BOOLEAN": 1 / 8, "INT64": 8, "DOUBLE": 8, "INT96": 8, "FIXED_LEN_BYTE_ARRAY": column.length}
    return widths.get(column.physical_type, 4)


def _longest_entries(path: AnyFile, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
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
    if isinstance(path, RemoteFile):
        return repr(sorted(path.info().items(), key=str))
    about = path.stat()
    return about.st_mtime_ns, about.st_size, about.st_ino


def schema_of(path: AnyFile) -> pa.Schema:
    """The Arrow schema of `path`."""
    return _footer(path, _stamp(path)).schema


@dataclass(frozen=True)
class _Footer:
    """What stands at the end of a file, read once for all chunks and passes; `is_plain`: its tables have `schema`."""

    metadata: pq.FileMetaData
    schema: pa.Schema
    is_plain: bool
    _chosen: dict[tuple[str, ...], list[str] | None] = field(default_factory=dict)

    def chosen(self, path: AnyFile, columns: Sequence[str] | None) -> list[str] | None:
        """What is read of the file for `columns`, None: all."""
        names = tuple(columns or ())
        if names not in self._chosen:
            # no column at all would be no rows at all
            self._chosen[names] = _arrow.check_columns(path, self.schema, names) or None
        return self._chosen[names]


@lru_cache(maxsize=CACHED)
def _footer(path: AnyFile, stamp: object) -> _Footer:
    with _opened(path) as file:
        found = file.schema_arrow
    schema = plain_schema(found)
    check_names(path, schema)
    return _Footer(file.metadata, schema, schema.equals(found))


def _groups_from(metadata: pq.FileMetaData, row: int) -> tuple[list[int], int]:
    """The row groups from that which has `row` on, and how many rows of the first come before it."""
    first = 0
    for index in range(metadata.num_row_groups):
        n_rows = metadata.row_group(index).num_rows
        if first + n_rows > row:
            return list(range(index, metadata.num_row_groups)), row - first
        first += n_rows
    return [], 0


@contextmanager
def _opened(
    path: AnyFile, dictionaries: tuple[str, ...] = (), footer: _Footer | None = None
) -> Iterator[pq.ParquetFile]:
    pa, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    known = {"read_dictionary": [*dictionaries], "metadata": None if footer is None else footer.metadata}
    with ExitStack() as stack:
        # arrow reads local files by itself, without Python between, and a page at a time instead of a row group
        try:
            if isinstance(path, RemoteFile):
                remote = stack.enter_context(path.open())
                file = parquet.ParquetFile(remote, **known)
            else:
                local = stack.enter_context(pa.OSFile(str(path)))
                file = parquet.ParquetFile(local, **known, pre_buffer=False, buffer_size=1 << 20)
            stack.enter_context(file)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: want a Parquet file: {error}") from error
        yield file


class Writer(_arrow.Writer):
    """Appends rows in the joint schema of the files `like`."""

    def __init__(self, path: Path, like: Sequence[AnyFile], noted: Mapping[str, str] | None = None) -> None:
        super().__init__(path, joint_schema_of(like), noted)
