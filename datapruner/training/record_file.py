"""The file of a record: safetensors with a checksum, rows in the order of their keys.

key           uint64 [n]    hashes of the uids, sorted
presentations, label, forgettings, learned, margin_sum, ...   [n]   see `running_record`
p_label, divergences, probabilities   [n, d]   the last window: with it a recorder goes on where it stopped
settings      int64 [6]     format, window, early, with_divergences, classes, step of the trainer
counts        int64 [t, 4]  of the transitions from presentation t: all, from wrong, to wrong, from wrong to wrong
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from datapruner.scoring.safetensors_mmap import mmap_safetensors, save_safetensors
from datapruner.training.running_record import COUNTS, RecordSettings, RunningRecord
from prunekernels.io.outputs import atomic_file

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """A record on disk; raises ValueError where `path` holds none."""

    path: Path

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All columns, as views of the file."""
        arrays = mmap_safetensors(self.path)
        settings = arrays.get("settings")
        if settings is None or settings.dtype != np.int64 or len(settings) != 6 or settings[0] != FORMAT:
            raise ValueError(f"{self.path}: want a record of training dynamics of format {FORMAT}")
        keys = arrays.get("key")
        if keys is None or keys.ndim != 1 or keys.dtype != np.uint64 or (keys[1:] <= keys[:-1]).any():
            raise ValueError(f"{self.path}: want sorted keys, one a row")
        columns = [array for name, array in arrays.items() if name not in ("settings", "counts")]
        wrong = any(len(array) != len(keys) for array in columns)
        if wrong or arrays.get("counts", np.zeros(0)).shape[1:] != (COUNTS,):
            raise ValueError(f"{self.path}: want a number of each column for each of {len(keys):,} rows")
        return arrays

    @property
    def settings(self) -> RecordSettings:
        """How it was recorded."""
        _, window, early, with_divergences, _, _ = self.arrays["settings"].tolist()
        return RecordSettings(window, early, bool(with_divergences))

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.arrays["settings"][4])

    @property
    def step(self) -> int:
        """At which step of a trainer it was saved; 0 where there is none."""
        return int(self.arrays["settings"][5])

    @cached_property
    def checksum(self) -> str:
        """Eight hex digits that tell one record from another."""
        return f"{zlib.crc32(self.path.read_bytes()):08x}"

    def column(self, name: str) -> np.ndarray:
        """One column, [n] or [n, d]."""
        if name not in self.arrays:
            raise ValueError(f"{self.path}: want a column {name!r}, got {', '.join(sorted(self.arrays))}")
        return self.arrays[name]

    def places(self, keys: np.ndarray, uids: Sequence[str]) -> np.ndarray:
        """Where the rows `keys` uint64 [n] stand; raises ValueError naming the first of `uids` that is not recorded."""
        known = self.column("key")
        at = np.searchsorted(known, keys)
        missing = np.flatnonzero(known[np.minimum(at, len(known) - 1)] != keys) if len(known) else np.arange(len(keys))
        if len(missing):
            raise ValueError(f"{self.path}: want a record of every row, got none of uid {uids[int(missing[0])]!r}")
        return at


def save_record(record: RunningRecord, path: Path, step: int) -> None:
    """Write `record`; the file appears whole, one that is there is replaced."""
    keys = record.slots.ordered_keys()
    order = np.argsort(keys)
    arrays = {name: array[order] for name, array in record.arrays().items()}
    settings = record.settings
    numbers = [FORMAT, settings.window, settings.early, settings.with_divergences, record.classes or 0, step]
    with atomic_file(path, replaces=True) as temporary:
        own = {"key": keys[order], "settings": np.array(numbers, np.int64), "counts": record.counts}
        save_safetensors({**arrays, **own}, temporary)


def load_record(path: Path) -> tuple[RunningRecord, int]:
    """The record in `path`, and the step at which it was saved."""
    found = Record(path)
    record = RunningRecord(found.settings)
    if len(found.column("key")):
        columns = {name: array for name, array in found.arrays.items() if name not in ("settings", "counts", "key")}
        record.restore(found.column("key"), found.classes, columns, found.column("counts"))
    return record, found.step
