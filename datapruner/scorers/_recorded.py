"""What scorers of training dynamics share: the record of one or several trainings, looked up by uid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from datapruner.scoring.scorer import COSMETIC, Batch, Scorer
from datapruner.training.record_file import Record


@dataclass(frozen=True)
class RecordedScorer(Scorer):
    """`record`: a file of `DynamicsRecorder`, or a folder of such files, one a training."""

    record: str = field(default="dynamics.safetensors", metadata=COSMETIC)

    needs: ClassVar[tuple[str, ...]] = ()
    # a look-up: nothing of a row is read but its uid
    is_cheap: ClassVar[bool] = True
    # how the trainings of a folder are brought together: mean or sum
    over_trainings: ClassVar[str] = "mean"

    def check(self) -> None:
        for record in self.records:
            _ = record.arrays

    def identity(self) -> dict[str, str]:
        checksums = " ".join(sorted(record.checksum for record in self.records))
        count = len(self.records)
        variant = f"{self.over_trainings} over {count} trainings" if count > 1 else "one training"
        return {"variant": f"training mode, {variant}", "record": checksums}

    def score(self, batch: Batch) -> np.ndarray:
        total = np.zeros(len(batch))
        for record in self.records:
            places = record.places(batch.keys, batch.uids)
            total += self.of(record, places, batch.uids) if len(batch) else 0
        return (total / (len(self.records) if self.over_trainings == "mean" else 1)).astype(np.float32)

    def of(self, record: Record, places: np.ndarray, uids: Sequence[str]) -> np.ndarray:
        """The scores of the rows `places` int64 [n] of one training."""
        raise NotImplementedError

    @cached_property
    def records(self) -> list[Record]:
        """The records, in the order of their names; raises ValueError where there is none."""
        path = Path(self.record)
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            name = type(self).__module__.rpartition(".")[2]
            raise ValueError(
                f"{name}.record wants a record of training dynamics, or a folder of them, got {self.record!r}"
            )
        return [Record(file) for file in files]

    def refuse_short(self, record: Record, places: np.ndarray, uids: Sequence[str], least: int) -> np.ndarray:
        """The presentations of each row; raises ValueError naming one with fewer than `least`."""
        presentations = record.column("presentations")[places]
        short = np.flatnonzero(presentations < least)
        if len(short):
            uid, count = uids[int(short[0])], int(presentations[short[0]])
            name = type(self).__module__.rpartition(".")[2]
            raise ValueError(f"{name} wants at least {least} presentations of a row, got {count} of uid {uid!r}")
        return presentations
