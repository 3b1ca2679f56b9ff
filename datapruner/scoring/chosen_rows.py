"""Which rows a column is scored for: all, or those that an earlier step keeps, or a sample.

A column of some rows has parts of full length in which the others are empty; beside them lie the numbers of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np

from datapruner.corpus.table_files import table_file
from datapruner.scoring.manifest import Input
from datapruner.scoring.safetensors_mmap import mmap_safetensors, save_safetensors
from datapruner.scoring.score_table import CHOSEN, ScoreTable
from datapruner.scoring.scorer import Scorer


class KeptRows(Protocol):
    """A selection, as far as scoring looks at it."""

    @property
    def kept(self) -> np.ndarray:
        """Row numbers, ascending int64."""
        ...

    @property
    def input(self) -> Input:
        """What the corpus was."""
        ...


def row_numbers(rows: Sequence[int] | np.ndarray, n_rows: int) -> np.ndarray:
    """`rows` as ascending int64 without repetition; raises ValueError where one is not of [0, `n_rows`)."""
    found = np.asarray(rows)
    if found.ndim != 1 or (len(found) and found.dtype.kind not in "iu"):
        raise ValueError(f"want rows as whole numbers [n], got {found.dtype} {[*found.shape]}")
    found = np.unique(found).astype(np.int64)
    if not len(found) or found[0] < 0 or found[-1] >= n_rows:
        got = f"{found[0]} to {found[-1]}" if len(found) else "none"
        raise ValueError(f"want rows of [0, {n_rows}), got {got}")
    return found


def rows_hash(rows: np.ndarray) -> str:
    """BLAKE2b of row numbers, 32 hex digits."""
    return blake2b(rows.astype("<i8").tobytes(), digest_size=16).hexdigest()


def check_takes_some_rows(scorers: Mapping[str, Scorer]) -> None:
    """Raise ValueError for a column that has to have every row."""
    for name, scorer in scorers.items():
        if scorer.is_vector:
            raise ValueError(f"{name} holds vectors, which every row has: want no rows=")
        if type(scorer).fit is not Scorer.fit and not scorer.fits_some_rows:
            raise ValueError(f"{name} compares each row with the whole corpus: want no rows=")


def save_rows(table: Path, column: str, rows: np.ndarray) -> None:
    """Write beside the parts of `column` which rows it has."""
    with table_file(table, f"{column}/{CHOSEN}") as temporary:
        save_safetensors({"rows": rows}, temporary)


def load_rows(table: ScoreTable, column: str) -> np.ndarray | None:
    """The rows of `column`, None: all."""
    return None if table.has_every_row(column) else mmap_safetensors(table.path / column / CHOSEN)["rows"]


def inside(rows: np.ndarray | None, start: int, stop: int) -> np.ndarray:
    """Which of the rows from `start` up to `stop` are among `rows`, as places from `start` on, int64."""
    if rows is None:
        return np.arange(stop - start)
    first, last = np.searchsorted(rows, [start, stop])
    return rows[first:last] - start
