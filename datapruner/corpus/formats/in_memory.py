"""Rows that are no files: arrays in memory, and `datasets` data sets, streams too. They are written as Parquet."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from datapruner.corpus.format import START, Begin, ReadOptions
from datapruner.corpus.formats import _arrow
from datapruner.corpus.formats._arrow import ArrowRows
from datapruner.corpus.formats._schema import check_names, plain_schema, plain_table
from prunekernels.extras import require

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

STEP = 256
Arrays: TypeAlias = Mapping[str, Sequence[object] | np.ndarray]
Row: TypeAlias = Mapping[str, object]


@dataclass(frozen=True)
class HubDataset:
    """One split of a data set on the Hugging Face hub, or of a folder that `datasets.load_dataset` takes.

    `streaming`: read while it is downloaded; each pass over the rows downloads it again. `files` go to a builder
    such as "json" or "parquet". A `revision` that is a full commit hash says what the rows are, so that they need
    not be read to be recognised. Code of the data set is never run.
    """

    path: str
    split: str = "train"
    name: str | None = None
    revision: str | None = None
    streaming: bool = False
    files: str | tuple[str, ...] | None = None

    def load(self) -> datasets.Dataset | datasets.IterableDataset:
        """The data set, opened once in a process."""
        return _load(self)


@lru_cache(maxsize=8)
def _load(hub: HubDataset) -> datasets.Dataset | datasets.IterableDataset:
    files = list(hub.files) if isinstance(hub.files, tuple) else hub.files
    return require("datasets", "data").load_dataset(
        hub.path, hub.name, data_files=files, split=hub.split, revision=hub.revision, streaming=hub.streaming
    )


@dataclass(frozen=True, eq=False)
class InMemoryDataset:
    """Arrays as an Arrow table, a data set, or one on the hub; `name` is what people read."""

    name: str
    rows: pa.Table | datasets.Dataset | datasets.IterableDataset | HubDataset

    def __str__(self) -> str:
        return self.name

    def opened(self) -> pa.Table | datasets.Dataset | datasets.IterableDataset:
        """The rows themselves; data sets give Arrow tables."""
        rows = self.rows.load() if isinstance(self.rows, HubDataset) else self.rows
        return rows if isinstance(rows, require("pyarrow", "data").Table) else rows.with_format("arrow")


def as_in_memory(given: object) -> InMemoryDataset | None:
    """`given` as rows that are no files; None where it is something else."""
    if isinstance(given, InMemoryDataset):
        return given
    if isinstance(given, HubDataset):
        revision = "" if given.revision is None else f"@{given.revision}"
        return InMemoryDataset(f"{given.path}{revision} ({given.split})", given)
    if isinstance(given, Mapping):
        if _is_dataset(given, "DatasetDict", "IterableDatasetDict"):
            raise ValueError(f"want one split of a data set, got all of {', '.join(given)}")
        if any(value is None or isinstance(value, str | bytes | int | float) for value in given.values()):
            return InMemoryDataset("rows", _table_of_rows([given]))
        return InMemoryDataset("arrays", _table(given))
    if isinstance(given, list | tuple) and given and all(isinstance(item, Mapping) for item in given):
        return InMemoryDataset("rows", _table_of_rows(given))
    if _is_dataset(given, "Dataset", "IterableDataset"):
        return InMemoryDataset("data set" if given.split is None else f"data set ({given.split})", given)  # type: ignore[attr-defined]
    table = _arrow_table(given)
    return None if table is None else InMemoryDataset("table", table)


def _is_dataset(given: object, *names: str) -> bool:
    # who has a data set has imported the library
    library = sys.modules.get("datasets")
    return library is not None and isinstance(given, tuple(getattr(library, name) for name in names))


def _arrow_table(given: object) -> pa.Table | None:
    """A table of Arrow, or a frame of pandas, polars or whatever hands over Arrow's streams; None where it is none."""
    pandas = sys.modules.get("pandas")
    is_frame = pandas is not None and isinstance(given, pandas.DataFrame)
    if not is_frame and not hasattr(given, "__arrow_c_stream__"):
        return None
    pa = require("pyarrow", "data")
    try:
        # the index only says which rows they are
        return pa.Table.from_pandas(given, preserve_index=False) if is_frame else pa.table(given)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ValueError(f"want a table, got {type(given).__name__}: {error}") from error


def _table_of_rows(rows: Sequence[Row]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return _table({name: [row.get(name) for row in rows] for name in names})


def _table(arrays: Arrays) -> pa.Table:
    pa = require("pyarrow", "data")
    if not arrays:
        raise ValueError("want at least one array, got none")
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"want arrays of one length, got {', '.join(f'{n}: {v}' for n, v in lengths.items())}")
    return pa.table({name: _column(name, values) for name, values in arrays.items()})


def _column(name: str, values: Sequence[object] | np.ndarray) -> pa.Array:
    pa = require("pyarrow", "data")
    try:
        if isinstance(values, np.ndarray) and values.ndim == 2:
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ValueError(f"arrays, {name!r}: want strings, numbers, bytes or vectors of one kind: {error}") from error


def read(
    fragment: InMemoryDataset, options: ReadOptions, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[ArrowRows]:
    """The rows of `fragment` from `begin` on.

    Of arrays and data sets, chunks have as many rows as fit by the mean size of a row; of streams, steps of at
    most 256 rows as long as they fit.
    """
    rows = fragment.opened()
    tables = _slices(rows, options, begin) if hasattr(rows, "num_rows") else _stream(rows, options, begin)
    first = begin.offset
    for read_table in tables:
        check_names(fragment, read_table.schema)
        table = plain_table(read_table)
        _arrow.check_columns(fragment, table.schema, columns or ())
        chosen = _arrow.chosen(table, columns)
        yield ArrowRows(fragment, chosen, Begin(first, first + 1), table.nbytes)
        first += len(table)


def is_sequential(fragment: InMemoryDataset) -> bool:
    """Whether `fragment` has to be read from its start: a stream."""
    return not hasattr(fragment.opened(), "num_rows")


def _slices(rows: pa.Table | datasets.Dataset, options: ReadOptions, begin: Begin) -> Iterator[pa.Table]:
    data = rows.data if hasattr(rows, "data") else rows
    step = _arrow.rows_per_chunk(options, data.nbytes / max(1, data.num_rows))
    for first in range(begin.offset, rows.num_rows, step):
        yield rows.slice(first, step) if data is rows else rows[first : first + step]


def _stream(rows: datasets.IterableDataset, options: ReadOptions, begin: Begin) -> Iterator[pa.Table]:
    return _arrow.joined_steps(rows.iter(batch_size=min(STEP, options.rows)), options, begin)


def _schema(rows: pa.Table | datasets.Dataset | datasets.IterableDataset, table: pa.Table) -> pa.Schema:
    features = getattr(rows, "features", None)
    return table.schema if features is None else plain_schema(features.arrow_schema)


class Writer(_arrow.Writer):
    """Appends rows of `like` to a Parquet file; `datasets` finds its features in it."""

    def __init__(self, path: Path, like: Sequence[InMemoryDataset], noted: Mapping[str, str] | None = None) -> None:
        rows = like[0].opened()
        first = next(read(like[0], ReadOptions(1, 1)))
        super().__init__(path, _schema(rows, first.table), noted)
