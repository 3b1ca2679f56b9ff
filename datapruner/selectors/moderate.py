"""Moderate coreset (Xia et al. 2023, ICLR): rows that are neither typical nor odd.

    features:  d_i = || x_i - median of the x of i's class ||,    the n middle ranks of all d are kept
    score:     d_i = | s_i - median of all s |,                   the n lowest are kept

The published code ranks distances to the class's median feature, over all classes at once; of N rows
floor((N - n) / 2) are dropped below. The paper's text takes any score and keeps what is nearest to its median:
where a score is skewed that is another set than the middle ranks. Ends are what both drop. A smaller keep_ratio
keeps a subset of what a larger one keeps. Memory: the vectors of a group in float64;
time O(N d).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector
from datapruner.selectors._columns import class_ids


@dataclass(frozen=True)
class Moderate(Selector):
    """Paper: Xia et al. 2023 (ICLR, Moderate Coreset); the middle of all distances to the median feature of the class.

    `classes` is the column with the classes, one of all rows where it is empty; with `reading` score the rows are
    those whose score is nearest to the median score.
    """

    reading: Literal["features", "score"] = "features"
    features: str = "embedding"
    classes: str = ""

    reads: ClassVar[str] = "vectors and classes, or scores"
    direction: ClassVar[str] = "middle"
    cost: ClassVar[str] = "N d for medians and distances, then a partition"
    nested: ClassVar[bool] = True

    # a score is looked at in one of the two readings only
    @property
    def needs_scores(self) -> bool:  # type: ignore[override]
        return self.reading == "score"

    def check(self) -> None:
        if self.reading not in ("features", "score"):
            raise ValueError(f"moderate wants the reading features or score, got {self.reading!r}")

    def choose(self, candidates: Candidates, n: int) -> Choice:
        lots = partial(candidates.lots, self.seed)
        if not n:
            return Choice(np.zeros(len(candidates), dtype=bool))
        if self.reading == "score":
            scores = candidates.scores.astype(np.float64)
            return Choice(ranking.lowest(np.abs(scores - np.median(scores)), n, lots))
        return Choice(ranking.middle(self._distances(candidates), n, lots))

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        if not kept.any():
            return np.zeros(len(candidates), dtype=np.int8), ["its share is 0 rows"]
        if self.reading == "score":
            return np.zeros(len(candidates), dtype=np.int8), [f"{candidates.by} farther from its median than the kept"]
        distances = self._distances(candidates)
        low, high = distances[kept].min(), distances[kept].max()
        codes = np.where(distances < low, 0, np.where(distances > high, 1, 2)).astype(np.int8)
        return codes, [
            f"nearer to the median {self.features} of its class than the middle {np.count_nonzero(kept)} rows",
            f"farther from the median {self.features} of its class than the middle {np.count_nonzero(kept)} rows",
            f"as far from the median {self.features} of its class as the last that is kept: drawn by uid",
        ]

    def _distances(self, candidates: Candidates) -> np.ndarray:
        """Of each row to the median feature of its class, float64 [n]."""
        vectors = candidates.vectors(self.features).astype(np.float64)
        if not np.isfinite(vectors).all():
            row = int((~np.isfinite(vectors)).any(1).argmax())
            raise ValueError(f"row {row} of vectors of {self.features!r} has NaN or infinity")
        ids, n_classes = class_ids(candidates, self.classes)
        distances = np.empty(len(vectors))
        for number in range(n_classes):
            own = vectors[ids == number]
            distances[ids == number] = np.linalg.norm(own - np.median(own, axis=0), axis=1)
        return distances
