"""The uids of a corpus, and what scorers say of rows, read where it is asked for: for a hundred million rows it does
not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from datapruner.corpus.checked_parquet import open_checked
from datapruner.scoring.manifest import ROWS
from datapruner.scoring.score_table import ScoreTable

if TYPE_CHECKING:
    import pyarrow as pa


class UidColumn(Protocol):
    """The uids of all rows, or another field, in blocks: number i has the rows from starts[i] up to starts[i + 1]."""

    @property
    def starts(self) -> np.ndarray:
        """int64, one more than there are blocks."""
        ...

    def block(self, number: int) -> pa.Array:
        """The uids of one block, strings, or the values of another field."""
        ...


class TableUidColumn:
    """The uids of a score table, or the field `field` of its column `column`; the block that was read last stays."""

    def __init__(self, table: ScoreTable, column: str = ROWS, field: str = "uid") -> None:
        self.table, self.column, self.field = table, column, field
        self._last: tuple[int, pa.Array] | None = None
        self._starts: np.ndarray | None = None

    @property
    def starts(self) -> np.ndarray:
        if self._starts is None:
            chunks = range(self.table.manifest["chunks"] or 0)
            lengths = [self.table.part_rows(ROWS, chunk) for chunk in chunks]
            self._starts = np.append(0, np.cumsum(lengths, dtype=np.int64))
        return self._starts

    def block(self, number: int) -> pa.Array:
        if self._last is None or self._last[0] != number:
            found = self.table.read_part(self.column, number, self.field).combine_chunks()
            self._last = number, found.dictionary_decode() if hasattr(found, "dictionary_decode") else found
        return self._last[1]


class FileUidColumn:
    """The uids, or the field `field`, of a selection on disk, whose blocks are its row groups; refused once the file
    was changed."""

    def __init__(self, path: Path, field: str = "uid") -> None:
        self.path, self.field = path, field
        self._last: tuple[int, pa.Array] | None = None
        with open_checked(path) as file:
            groups = file.metadata
            lengths = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
        self.starts = np.append(0, np.cumsum(lengths, dtype=np.int64))
        self._stamp = self._stat()

    def block(self, number: int) -> pa.Array:
        if self._stat() != self._stamp:
            raise ValueError(f"{self.path} was changed since it was read: want the file as it was")
        if self._last is None or self._last[0] != number:
            with open_checked(self.path) as file:
                self._last = number, file.read(self.field, number).combine_chunks()
        return self._last[1]

    def _stat(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns


def uid_slices(uids: UidColumn, start: int, stop: int) -> Iterator[tuple[int, pa.Array]]:
    """The uids of the rows from `start` up to `stop`, as first row and strings, a block at a time."""
    starts = uids.starts
    first = max(0, int(np.searchsorted(starts, start, "right")) - 1)
    for number in range(first, len(starts) - 1):
        low, high = max(start, int(starts[number])), min(stop, int(starts[number + 1]))
        if low >= high:
            return
        yield low, uids.block(number).slice(low - int(starts[number]), high - low)
