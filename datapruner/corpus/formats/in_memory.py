"""Rows that are no files: arrays in memory, and `datasets` data sets, streams too. They are written as Parquet."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from datapruner.corpus.field_paths import root_of
from datapruner.corpus.format import START, Begin, Limits
from datapruner.corpus.formats import _arrow
from datapruner.corpus.formats._arrow import ArrowRows
from prunekernels.extras import require

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

STEP = 256
Arrays: TypeAlias = Mapping[str, Sequence[object] | np.ndarray]


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
        return InMemoryDataset("arrays", _table(given))
    if _is_dataset(given, "Dataset", "IterableDataset"):
        return InMemoryDataset("data set" if given.split is None else f"data set ({given.split})", given)  # type: ignore[attr-defined]
    return None


def _is_dataset(given: object, *names: str) -> bool:
    # who has a data set has imported the library
    library = sys.modules.get("datasets")
    return library is not None and isinstance(given, tuple(getattr(library, name) for name in names))


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
    fragment: InMemoryDataset, limits: Limits, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[ArrowRows]:
    """The rows of `fragment` from `begin` on.

    Of arrays and data sets, chunks have as many rows as fit by the mean size of a row; of streams, steps of at
    most 256 rows as long as they fit.
    """
    rows = fragment.opened()
    tables = _slices(rows, limits, begin) if hasattr(rows, "num_rows") else _stream(rows, limits, begin)
    schema = None
    first = begin.offset
    for table in tables:
        schema = schema or _schema(rows, table)
        _arrow.check_columns(fragment, table.schema, columns or ())
        roots = dict.fromkeys(root_of(name, table.column_names)[0] for name in columns or ())
        chosen = table.select([*roots]) if roots else table
        yield ArrowRows(fragment, chosen, Begin(first, first + 1), schema)
        first += len(table)


def is_sequential(fragment: InMemoryDataset) -> bool:
    """Whether `fragment` has to be read from its start: a stream."""
    return not hasattr(fragment.opened(), "num_rows")


def _slices(rows: pa.Table | datasets.Dataset, limits: Limits, begin: Begin) -> Iterator[pa.Table]:
    data = rows.data if hasattr(rows, "data") else rows
    step = _arrow.rows_per_chunk(limits, data.nbytes / max(1, data.num_rows))
    for first in range(begin.offset, rows.num_rows, step):
        yield rows.slice(first, step) if data is rows else rows[first : first + step]


def _stream(rows: datasets.IterableDataset, limits: Limits, begin: Begin) -> Iterator[pa.Table]:
    """Always read from its start: a stream begun elsewhere would come in other steps."""
    join = require("pyarrow", "data").concat_tables
    waiting: list[pa.Table] = []
    first = 0
    for table in _steps(rows, limits):
        room = limits.rows - sum(map(len, waiting))
        full = waiting and sum(part.nbytes for part in waiting) + table.nbytes > limits.bytes
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


def _steps(rows: datasets.IterableDataset, limits: Limits) -> Iterator[pa.Table]:
    for table in rows.iter(batch_size=min(STEP, limits.rows)):
        fitting = _arrow.rows_per_chunk(limits, table.nbytes / len(table))
        for first in range(0, len(table), fitting):
            yield table.slice(first, fitting)


def _schema(rows: pa.Table | datasets.Dataset | datasets.IterableDataset, table: pa.Table) -> pa.Schema:
    features = getattr(rows, "features", None)
    return table.schema if features is None else features.arrow_schema


class Writer(_arrow.Writer):
    """Appends rows of `like` to a Parquet file; `datasets` finds its features in it."""

    def __init__(self, path: Path, like: InMemoryDataset, noted: Sequence[str] | None = None) -> None:
        rows = like.opened()
        first = next(read(like, Limits(1, 1)))
        super().__init__(path, _schema(rows, first.table), noted)
