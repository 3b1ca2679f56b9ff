"""Score tables from arrays, without a corpus: parts of unequal length, as files that end in a chunk leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from datapruner import Scorer, ScoreTable
from datapruner.corpus.uids import hash64
from datapruner.scoring.manifest import ROWS, save_manifest
from datapruner.scoring.scorer_columns import manifest_column

LENGTHS = (3, 1, 5, 2)


def make_table(
    path: Path,
    columns: Mapping[str, Mapping[str, np.ndarray]],
    groups: Sequence[str] | None = None,
    tokens: Sequence[int] | None = None,
    uids: Sequence[str] | None = None,
) -> ScoreTable:
    """A table with `columns`: the fields of each, of which "score" or "vector" [n, d] is one."""
    n = len(next(iter(next(iter(columns.values())).values())))
    names = [f"u{i}" for i in range(n)] if uids is None else uids
    every: dict[str, Mapping[str, Sequence[object] | np.ndarray]] = {
        ROWS: {
            "uid": names,
            "key": hash64(names),
            "group": [None] * n if groups is None else groups,
            "tokens": np.ones(n, dtype=np.int64) if tokens is None else np.array(tokens, dtype=np.int64),
        },
        **columns,
    }
    path.mkdir(parents=True)
    fields = {"text": "text", "uid": None, "group": None if groups is None else "source", "label": None}
    table = ScoreTable.create(path, {"files": [], "fields": fields, "chunk_rows": 5, "chunk_bytes": 2**20})
    start = chunk = 0
    while start < n:
        rows = slice(start, start + LENGTHS[chunk % len(LENGTHS)])
        for name, values in every.items():
            table.write_part(name, chunk, pa.table({field: _part(array[rows]) for field, array in values.items()}))
        start, chunk = rows.stop, chunk + 1
    made = {
        name: {**manifest_column(Scorer()), "is_vector": "vector" in columns[name], "complete": True}
        for name in columns
    }
    save_manifest(path, {**table.manifest, "rows": n, "chunks": chunk, "columns": made})  # type: ignore[typeddict-item]
    return ScoreTable(path)


def _part(values: Sequence[object] | np.ndarray) -> pa.Array:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    if isinstance(values, np.ndarray):
        return pa.array(values)
    return pa.array(values, pa.string())


def scored(**columns: Sequence[float]) -> dict[str, dict[str, np.ndarray]]:
    """Columns of scores."""
    return {name: {"score": np.array(values, dtype=np.float32)} for name, values in columns.items()}
