"""Trainings, each a file: what is trained once is not trained again, whatever stopped the run.

A cell is known by all that decides it: corpora, proxy, rows and weights, seed and steps. Its file is called by the hash
of that, is written whole, and says it again: an evaluation with one more candidate or seed trains what is missing, and
two candidates that keep the same rows share a training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapruner.evaluation.equal_steps import Point
from prunekernels.io.json_files import Fields
from prunekernels.io.outputs import atomic_text

FORMAT = 1
Identity = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Trained:
    """What a training came to: its last point, and the course before it."""

    points: tuple[Point, ...]

    @property
    def quality(self) -> float:
        """Behind the last step."""
        return self.points[-1].quality

    @property
    def seconds(self) -> float:
        """Of training, without judging."""
        return self.points[-1].seconds

    def first_at(self, quality: float, sign: int) -> Point | None:
        """The first point that is as good; `sign` is 1 where more is better and -1 where less is."""
        return next((point for point in self.points if sign * point.quality >= sign * quality), None)


@dataclass(frozen=True)
class Cells:
    """The folder of cells."""

    folder: Path

    def path(self, identity: Identity) -> Path:
        """The file of a cell, there or not."""
        text = json.dumps(identity, sort_keys=True)
        return self.folder / f"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.json"

    def load(self, identity: Identity) -> Trained | None:
        """The training of `identity` where it is done; raises ValueError where its file is of something else."""
        path = self.path(identity)
        if not path.exists():
            return None
        read = Fields.read(path)
        read.format(FORMAT)
        read.only(("format", "cell", "points"))
        if read.fields("cell").values != dict(identity):
            raise ValueError(f"{path}: want the training of {json.dumps(identity)}, got that of another")
        points = [_point(item) for item in read.list_of_fields("points")]
        if not points:
            raise ValueError(f"{path}: want points, got none")
        return Trained(tuple(points))

    def save(self, identity: Identity, trained: Trained) -> None:
        """Keep a training; it appears whole."""
        self.folder.mkdir(exist_ok=True)
        held = {"format": FORMAT, "cell": dict(identity), "points": [point._asdict() for point in trained.points]}
        with atomic_text(self.path(identity), replaces=True) as file:
            file.write(json.dumps(held, indent=1, allow_nan=False) + "\n")


def rows_hash(rows: np.ndarray, weights: np.ndarray | None) -> str:
    """32 hex digits of which rows are trained on, and with which weights."""
    hashed = hashlib.blake2b(np.ascontiguousarray(rows, dtype="<i8").tobytes(), digest_size=16)
    if weights is not None:
        hashed.update(np.ascontiguousarray(weights, dtype="<f4").tobytes())
    return hashed.hexdigest()


def _point(read: Fields) -> Point:
    return Point(read.integer("step", minimum=1), read.number("seconds", minimum=0), read.number("quality"))
