"""A selection on disk: one Parquet file, a row for every row of the corpus, written and read a block at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datapruner.corpus.checked_parquet import CheckedFile, Writer, open_checked
from datapruner.scoring.manifest import Input, read_input
from datapruner.selection.groups import smallest_type
from datapruner.selection.step import Step, read_step
from datapruner.selection.uid_column import FileUidColumn, UidColumn, uid_slices
from prunekernels.extras import require
from prunekernels.io.json_files import Fields, parse_object
from prunekernels.io.outputs import atomic_file, make_parents

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 2
# rows of one row group
ROWS_PER_GROUP = 2**20

_KEY, _SCORE, _DETAIL = b"prunekit.selection", "score_", "detail_"


@dataclass(frozen=True, eq=False)
class StoredSelection:
    """What the file holds, in the order of the corpus.

    `codes` [n] of the narrowest type, -1 for a kept row, else the number of its reason in `reasons`; `scores` the
    columns that were selected by, float32 [n]; `input` what the corpus was; `steps` the selectors in order; `uids`
    where the uids are read from; `weights` float32 [n], 0 where dropped, None where no selector gives any; `details`,
    as in "near_duplicate.nearest_uid", where what the scorers of `scores` say beside them is read from.
    """

    codes: np.ndarray
    reasons: tuple[str, ...]
    scores: dict[str, np.ndarray]
    input: Input
    steps: tuple[Step, ...]
    uids: UidColumn
    weights: np.ndarray | None = None
    details: Mapping[str, UidColumn] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows of the corpus."""
        return len(self.codes)


def save(selection: StoredSelection, path: Path) -> None:
    """Write `selection` to `path`; the file appears whole.

    Raises ValueError where something else than a selection is there, or the one that its uids are read from.
    """
    pa = require("pyarrow", "data")
    about = {"format": FORMAT, "reasons": selection.reasons, "input": selection.input, "steps": selection.steps}
    numbers = {**_numbers(selection), **({} if selection.weights is None else {"weight": selection.weights})}
    fields = [("row", pa.int64()), ("uid", pa.string()), ("kept", pa.bool_())]
    fields += [("reason", pa.dictionary(pa.int32(), pa.string())), *((name, pa.float32()) for name in numbers)]
    fields += [(_DETAIL + name, column.block(0).type) for name, column in selection.details.items()]
    schema = pa.schema(fields, {_KEY: json.dumps(about, sort_keys=True)})
    reasons = pa.array(selection.reasons, pa.string())
    inputs = [selection.uids.path] if isinstance(selection.uids, FileUidColumn) else []
    make_parents(path)
    # a dictionary of uids or scores would be as long as they are
    encodings = {"row": "DELTA_BINARY_PACKED", "uid": "DELTA_LENGTH_BYTE_ARRAY"}
    options = {"use_dictionary": ["reason"], "column_encoding": encodings}
    with (
        atomic_file(path, replaces=is_selection, inputs=inputs) as temporary,
        Writer(temporary, schema, **options) as file,
    ):
        for start, uids in _uids(selection):
            rows = slice(start, start + len(uids))
            kept = selection.codes[rows] < 0
            codes = pa.array(selection.codes[rows].astype(np.int32), mask=kept)
            columns = [np.arange(rows.start, rows.stop), uids, kept, pa.DictionaryArray.from_arrays(codes, reasons)]
            columns += [values[rows] for values in numbers.values()]
            columns += [
                _slice(column, rows, schema.field(_DETAIL + name).type) for name, column in selection.details.items()
            ]
            file.write(pa.table(columns, schema=schema))


def load(path: Path) -> StoredSelection:
    """Read what `save` wrote; raises ValueError where `path` is something else or not as it was written."""
    try:
        with open_checked(path, ("reason",)) as file:
            about = _about(file)
            reasons = tuple(about.texts("reasons"))
            codes = _codes(file, reasons)
            names = [name for name in file.file.schema_arrow.names if name.startswith(_SCORE) or name == "weight"]
            numbers = {name: _read(file, name) for name in names}
            recorded = read_input(about.fields("input"))
            steps = tuple(read_step(step) for step in about.list_of_fields("steps"))
            uids = FileUidColumn(path)
            told = [name for name in file.file.schema_arrow.names if name.startswith(_DETAIL)]
            details = {name.removeprefix(_DETAIL): FileUidColumn(path, name) for name in told}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except ValueError as error:
        raise ValueError(f"{path} is no selection that can be read: {str(error).removeprefix(f'{path}: ')}") from error
    weights = numbers.pop("weight", None)
    scores = {name.removeprefix(_SCORE): values for name, values in numbers.items()}
    return StoredSelection(codes, reasons, scores, recorded, steps, uids, weights, details)


def _about(file: CheckedFile) -> Fields:
    """What the file says of itself beside its rows."""
    text = (file.file.schema_arrow.metadata or {}).get(_KEY)
    if text is None:
        raise ValueError(f"{file.path}: want the file that `select` wrote")
    about = Fields(parse_object(text, str(file.path)), str(file.path))
    about.format(FORMAT)
    about.only(("format", "reasons", "input", "steps"))
    return about


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


def _slice(column: UidColumn, rows: slice, kind: pa.DataType) -> pa.ChunkedArray:
    blocks = [block for _, block in uid_slices(column, rows.start, rows.stop)]
    return require("pyarrow", "data").chunked_array(blocks, kind)


def _numbers(selection: StoredSelection) -> dict[str, np.ndarray]:
    return {_SCORE + name: values for name, values in selection.scores.items()}


def _codes(file: CheckedFile, reasons: Sequence[str]) -> np.ndarray:
    """The numbers of the reasons, -1 where there is none; each row group has a dictionary of its own."""
    numbers = {text: number for number, text in enumerate(reasons)}
    codes = np.empty(file.n_rows, dtype=smallest_type(max(1, len(reasons)), signed=True))
    start = 0
    for group in range(file.metadata.num_row_groups):
        values = file.read("reason", group)
        if str(getattr(values.type, "value_type", None)) != "string":
            raise ValueError(f"{file.path}: want reasons as text, got {values.type}")
        for piece in values.chunks:
            texts = piece.dictionary.to_pylist()
            other = next((text for text in texts if text not in numbers), None)
            if other is not None:
                raise ValueError(f"{file.path}: want one of its {len(numbers)} reasons, got {other!a:.80}")
            known = [numbers[text] for text in texts]
            # the place after the last is that of the kept
            places = piece.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
            codes[start : start + len(piece)] = np.array([*known, -1], dtype=codes.dtype)[places]
            start += len(piece)
    return codes


def _read(file: CheckedFile, name: str) -> np.ndarray:
    values = np.empty(file.n_rows, dtype=np.float32)
    start = 0
    for group in range(file.metadata.num_row_groups):
        piece: pa.ChunkedArray = file.read(name, group)
        if str(piece.type) != "float" or piece.null_count:
            raise ValueError(f"{file.path}: want {name!r} as float32 for each row, got {piece.type}")
        values[start : start + len(piece)] = piece.to_numpy()
        start += len(piece)
    return values
