"""A selection on disk: one Parquet file, a row for every row of the corpus, written and read a block at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from datapruner.scoring.score_table import Column, Input
from datapruner.selection.groups import smallest_type
from datapruner.selection.uid_column import FileUidColumn, UidColumn, uid_slices
from prunekernels.extras import require
from prunekernels.io.outputs import atomic_file, make_parents

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# rows of one row group
ROWS_PER_GROUP = 2**20

_KEY, _SCORE = b"prunekit.selection", "score_"


class Step(TypedDict):
    """One use of a selector.

    `by` is a column or, in words, the sum of `ranks`, which are weights by column; `column` and `columns` say how
    they were made. `budget` is what was asked, by its one field, and `keep_ratio` the same where that is the ratio
    of rows; `quota` and `counts` say how the groups of `per` shared it. `rows` competed, `kept` of them are kept.
    """

    selector: str
    by: str | None
    ranks: dict[str, float]
    keep_ratio: float | None
    budget: dict[str, float]
    per: str | None
    quota: str | dict[str, float] | None
    counts: dict[str, int] | None
    rows: int
    kept: int
    column: Column | None
    columns: dict[str, Column]
    warnings: list[str]


@dataclass(frozen=True, eq=False)
class StoredSelection:
    """What the file holds, in the order of the corpus.

    `codes` [n] of the narrowest type, -1 for a kept row, else the number of its reason in `reasons`; `scores` the
    columns that were selected by, float32 [n]; `input` what the corpus was; `steps` the selectors in order; `uids`
    where the uids are read from; `weights` float32 [n], 0 where dropped, None where no selector gives any.
    """

    codes: np.ndarray
    reasons: tuple[str, ...]
    scores: dict[str, np.ndarray]
    input: Input
    steps: tuple[Step, ...]
    uids: UidColumn
    weights: np.ndarray | None = None

    @property
    def n_rows(self) -> int:
        """Rows of the corpus."""
        return len(self.codes)


def save(selection: StoredSelection, path: Path) -> None:
    """Write `selection` to `path`; the file appears whole.

    Raises ValueError where something else than a selection is there, or the one that its uids are read from.
    """
    pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    about = {"reasons": selection.reasons, "input": selection.input, "steps": selection.steps}
    numbers = {**_numbers(selection), **({} if selection.weights is None else {"weight": selection.weights})}
    fields = [("row", pa.int64()), ("uid", pa.string()), ("kept", pa.bool_())]
    fields += [("reason", pa.dictionary(pa.int32(), pa.string())), *((name, pa.float32()) for name in numbers)]
    schema = pa.schema(fields, {_KEY: json.dumps(about, sort_keys=True)})
    reasons = pa.array(selection.reasons, pa.string())
    inputs = [selection.uids.path] if isinstance(selection.uids, FileUidColumn) else []
    make_parents(path)
    # a dictionary of uids or scores would be as long as they are
    encodings = {"row": "DELTA_BINARY_PACKED", "uid": "DELTA_LENGTH_BYTE_ARRAY"}
    options = {"compression": "zstd", "use_dictionary": ["reason"], "column_encoding": encodings}
    with (
        atomic_file(path, replaces=is_selection, inputs=inputs) as temporary,
        pq.ParquetWriter(temporary, schema, **options) as file,
    ):
        for start, uids in _uids(selection):
            rows = slice(start, start + len(uids))
            kept = selection.codes[rows] < 0
            codes = pa.array(selection.codes[rows].astype(np.int32), mask=kept)
            columns = [np.arange(rows.start, rows.stop), uids, kept, pa.DictionaryArray.from_arrays(codes, reasons)]
            columns += [values[rows] for values in numbers.values()]
            file.write_table(pa.table(columns, schema=schema), row_group_size=ROWS_PER_GROUP)


def load(path: Path) -> StoredSelection:
    """Read what `save` wrote; raises ValueError where `path` is something else."""
    pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    try:
        with pq.ParquetFile(path) as file:
            about = json.loads((file.schema_arrow.metadata or {})[_KEY])
            codes = _codes(file, about["reasons"])
            names = [name for name in file.schema_arrow.names if name.startswith(_SCORE) or name == "weight"]
            numbers = {name: _read(file, name) for name in names}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is no selection: want the file that `select` wrote") from error
    weights = numbers.pop("weight", None)
    scores = {name.removeprefix(_SCORE): values for name, values in numbers.items()}
    steps, reasons = tuple(about["steps"]), tuple(about["reasons"])
    return StoredSelection(codes, reasons, scores, about["input"], steps, FileUidColumn(path), weights)


def is_selection(path: Path) -> bool:
    """Whether `path` is a file that `save` wrote."""
    pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    try:
        return path.is_file() and _KEY in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def _uids(selection: StoredSelection) -> Iterator[tuple[int, pa.ChunkedArray]]:
    """The first row and the uids of each row group; the next ones are read while these are written."""

    def read(start: int) -> pa.ChunkedArray:
        arrow, stop = require("pyarrow", "data"), min(start + ROWS_PER_GROUP, selection.n_rows)
        return arrow.chunked_array([block for _, block in uid_slices(selection.uids, start, stop)], arrow.string())

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(read, 0)
        for start in range(0, selection.n_rows, ROWS_PER_GROUP):
            uids, following = following.result(), pool.submit(read, start + ROWS_PER_GROUP)
            yield start, uids


def _numbers(selection: StoredSelection) -> dict[str, np.ndarray]:
    return {_SCORE + name: values for name, values in selection.scores.items()}


def _codes(file: pq.ParquetFile, reasons: list[str]) -> np.ndarray:
    """The numbers of the reasons, -1 where there is none; each row group has a dictionary of its own."""
    numbers = {text: number for number, text in enumerate(reasons)}
    codes = np.empty(file.metadata.num_rows, dtype=smallest_type(max(1, len(reasons)), signed=True))
    start = 0
    for group in range(file.num_row_groups):
        for piece in file.read_row_group(group, columns=["reason"]).column(0).chunks:
            known = [numbers[text] for text in piece.dictionary.to_pylist()]
            # the place after the last is that of the kept
            places = piece.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
            codes[start : start + len(piece)] = np.array([*known, -1], dtype=codes.dtype)[places]
            start += len(piece)
    return codes


def _read(file: pq.ParquetFile, name: str) -> np.ndarray:
    values = np.empty(file.metadata.num_rows, dtype=np.float32)
    start = 0
    for group in range(file.num_row_groups):
        piece: pa.ChunkedArray = file.read_row_group(group, columns=[name]).column(0)
        values[start : start + len(piece)] = piece.to_numpy()
        start += len(piece)
    return values
