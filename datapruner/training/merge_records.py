"""One record from those of several trainings or processes that saw different rows.

A row's course has an order: where two records know the same row, nobody can say how its presentations alternated, and
forgetting events and windows would be wrong. Such records are refused; processes that hand rows to each other bring
them together while they train, by `DynamicsRecorder.gather`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datapruner.training.record_file import Record, save_record
from datapruner.training.running_record import RunningRecord


def merge_records(paths: Sequence[str | Path], out: str | Path) -> Record:
    """Write the rows of all records `paths` to `out`; raises ValueError where they share one or were made otherwise."""
    records = [Record(Path(path)) for path in paths]
    if not records:
        raise ValueError("want at least one record, got none")
    first = records[0]
    for record in records[1:]:
        if (record.settings, record.classes) != (first.settings, first.classes):
            raise ValueError(
                f"{record.path}: want {first.settings} and {first.classes} classes as in {first.path}, "
                f"got {record.settings} and {record.classes}"
            )
    keys = np.concatenate([record.column("key") for record in records])
    shared = len(keys) - len(np.unique(keys))
    if shared:
        raise ValueError(f"want records of different rows, got {shared:,} that several of them have")
    names = first.arrays.keys() - {"key", "settings", "counts"}
    arrays = {name: np.concatenate([record.column(name) for record in records]) for name in names}
    longest = max(len(record.column("counts")) for record in records)
    counts = sum(np.pad(own := record.column("counts"), [(0, longest - len(own)), (0, 0)]) for record in records)
    merged = RunningRecord(first.settings)
    merged.restore(keys, first.classes, arrays, np.asarray(counts))
    save_record(merged, Path(out), max(record.step for record in records))
    return Record(Path(out))
