"""Where each chunk begins: one row a chunk, so that any process reads any chunk without those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapruner.corpus.atomic_files import replacing
from datapruner.corpus.optional_imports import require

CHUNKS = "chunks.parquet"
FIELDS = ("file", "offset", "number", "start", "rows")


@dataclass(frozen=True)
class Place:
    """One chunk: the number of its file, byte (JSON lines) or row in it, line or row number from 1 in it; its first
    row in the corpus, and how many rows it has."""

    file: int
    offset: int
    number: int
    start: int
    rows: int


def save_places(folder: str | Path, places: Sequence[Place]) -> None:
    """Write the places of all chunks into the folder of a score table; the file appears whole."""
    pa, pq = require("pyarrow"), require("pyarrow.parquet")
    columns = {name: np.array([getattr(place, name) for place in places], dtype=np.int64) for name in FIELDS}
    with replacing(Path(folder) / CHUNKS) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


def load_places(folder: str | Path) -> list[Place]:
    """The places of all chunks, in order; raises ValueError where the folder has none."""
    pa, pq = require("pyarrow"), require("pyarrow.parquet")
    path = Path(folder) / CHUNKS
    try:
        columns = pq.read_table(path, columns=[*FIELDS], partitioning=None).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: want the places of the chunks, as `score` writes them: {error}") from error
    return [Place(*values) for values in zip(*(columns[name] for name in FIELDS), strict=True)]
