"""Scorers that other processes can import: one that says what it does, and some that end badly."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datapruner import Batch, Scorer
from datapruner.scoring.scorer import COSMETIC, NOTHING, State


@dataclass(frozen=True)
class Logged(Scorer):
    """Length, slowly; each chunk leaves its process and its first row in `log`."""

    log: str = field(default="", metadata=COSMETIC)
    seconds: float = field(default=0.0, metadata=COSMETIC)

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        # one write of few bytes: lines of several processes do not mix
        with open(self.log, "a") as log:
            log.write(f"{os.getpid()} {batch.rows[0]}\n")
        time.sleep(self.seconds)
        return np.array([len(text) for text in batch.texts], dtype=np.float32)


class TwoWordsError(Exception):
    """An error that cannot be made again from its message."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


@dataclass(frozen=True)
class Failing(Scorer):
    """Ends badly at row 40, `how` says in which way."""

    how: str = field(default="value", metadata=COSMETIC)

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if 40 in batch.rows:
            if self.how == "value":
                raise ValueError("want something else")
            if self.how == "odd":
                raise TwoWordsError("fire", "water")
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
        return np.array([len(text) for text in batch.texts], dtype=np.float32)


def logged(log: Path) -> list[tuple[int, int]]:
    """Process and first row of every chunk in `log`."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(pid), int(row)) for pid, row in map(str.split, lines)]
