"""Prototypicality of Sorscher et al. 2022 (arXiv:2206.14486): how far a row lies from the centre of its cluster.

    score = 1 - cos(x, c),    c the nearest of k centroids of spherical k-means over the embeddings

Higher is farther from its prototype, hence harder: the paper keeps the hard ones where data is plentiful and the
easy ones where it is scarce. Every score of this kind shifts the mix of classes: select with `per`.

The centroids are trained on at most `train_rows` rows, drawn by a hash of their uids, so that memory does not grow
with the corpus; every row is then compared with all of them. k = 0 takes sqrt(n / (2 iterations)), where k-means
and a later comparison inside clusters cost least together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._drawn_vectors import drawn_vectors
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from prunekernels._unit import unit_rows
from prunekernels.kmeans import kmeans


@dataclass(frozen=True)
class Prototypicality(Scorer):
    """Paper: Sorscher et al. 2022 (arXiv:2206.14486); cosine distance to the own cluster's centroid.

    `features` names the field or column with a row's embedding, [d].
    """

    features: str = "embedding"
    k: int = 0
    iterations: int = 20
    train_rows: int = 262_144
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    fits_some_rows: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is farther from its cluster's centroid: harder; in [0, 2]"
    cost: ClassVar[str] = "fit: 2 n k d FLOP an iteration for n training rows; 2 k d a row"

    def check(self) -> None:
        if self.k < 0 or self.iterations < 1 or self.train_rows < max(1, self.k):
            raise ValueError(
                "prototypicality wants k >= 0, iterations >= 1 and train_rows of at least k and 1, got "
                f"{self.k}, {self.iterations} and {self.train_rows}"
            )

    def vectors(self) -> tuple[str, ...]:
        return (self.features,)

    def fit(self, corpus: Iterable[Batch]) -> State:
        drawn = drawn_vectors(corpus, self.features, self.train_rows, self.seed)
        rows, total = drawn.vectors, drawn.total
        if not total:
            return {"centroids": np.zeros((0, 0), np.float32)}
        k = self.k or max(1, round((total / (2 * self.iterations)) ** 0.5))
        found_centroids = kmeans(torch.tensor(rows), min(k, len(rows)), True, self.iterations, self.seed).centroids
        return {"centroids": found_centroids.numpy()}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        return 1 - self._nearest(batch, state)[0]

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`cluster`: the number of the nearest centroid, int32."""
        return {"cluster": self._nearest(batch, state)[1]}

    def _nearest(self, batch: Batch, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Cosine to the nearest centroid, float32 [n], and its number, int32 [n]."""
        if "centroids" not in state:
            raise ValueError("prototypicality wants the state that fit(corpus) returned")
        if not len(batch):
            return np.zeros(0, np.float32), np.zeros(0, np.int32)
        centroids, features = torch.from_numpy(state["centroids"]), batch.vectors[self.features]
        if features.shape[1] != centroids.shape[1]:
            raise ValueError(f"want {self.features!r} of {centroids.shape[1]} numbers, got {features.shape[1]}")
        cosine, cluster = (unit_rows(torch.tensor(features)) @ centroids.T).max(1)
        return cosine.clamp(-1, 1).numpy(), cluster.int().numpy()
