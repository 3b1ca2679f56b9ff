"""What a folder holds, byte by byte, and a scorer that counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapruner import Batch, Scorer
from datapruner.scoring.scorer import NOTHING, State


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Counting(Scorer):
    """Counts how many rows it is asked for; fails when it has seen `fails_at`."""

    fails_at: int | None = None

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if self.fails_at is not None and batch.rows[0] >= self.fails_at:
            raise RuntimeError("the power is gone")
        SEEN.extend(batch.rows.tolist())
        return np.array([len(text) for text in batch.texts], dtype=np.float32)


SEEN: list[int] = []
