"""Scorers by the nearest centroid of spherical k-means, which is trained on rows drawn from the corpus."""

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
class CentroidScorer(Scorer):
    """Base: `features` names the field or column with a row's embedding, [d].

    The `k` centroids are trained on at most `train_rows` rows, drawn by a hash of their uids, so that memory does not
    grow with the corpus; every row is then compared with all of them.
    """

    features: str = "embedding"
    k: int = 0
    iterations: int = 20
    train_rows: int = 262_144
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()

    def default_k(self, rows: int) -> float:
        """How many clusters `k` = 0 is for so many rows."""
        raise NotImplementedError

    def check(self) -> None:
        if self.k < 0 or self.iterations < 1 or self.train_rows < max(1, self.k):
            raise ValueError(
                f"{self._name} wants k >= 0, iterations >= 1 and train_rows of at least k and 1, got "
                f"{self.k}, {self.iterations} and {self.train_rows}"
            )

    def vectors(self) -> tuple[str, ...]:
        return (self.features,)

    def fit(self, corpus: Iterable[Batch]) -> State:
        rows, total = drawn_vectors(corpus, self.features, self.train_rows, self.seed)[1:]
        if not total:
            return {"centroids": np.zeros((0, 0), np.float32)}
        k = min(self.k or max(1, round(self.default_k(total))), len(rows))
        return {"centroids": kmeans(torch.tensor(rows), k, True, self.iterations, self.seed).centroids.numpy()}

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`cluster`: the number of the nearest centroid, int32."""
        return {"cluster": self.nearest(batch, state)[1]}

    def nearest(self, batch: Batch, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Cosine to the nearest centroid, float32 [n], and its number, int32 [n]."""
        if "centroids" not in state:
            raise ValueError(f"{self._name} wants the state that fit(corpus) returned")
        return self.nearest_of(batch.vectors[self.features], state["centroids"])

    def nearest_of(self, vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same for `vectors` float32 [n, d]."""
        if not len(vectors):
            return np.zeros(0, np.float32), np.zeros(0, np.int32)
        if vectors.shape[1] != centroids.shape[1]:
            wanted = f"{self._name} wants {self.features!r} of {centroids.shape[1]} numbers"
            raise ValueError(f"{wanted}, got {vectors.shape[1]}")
        cosine, cluster = (unit_rows(torch.tensor(vectors)) @ torch.from_numpy(centroids).T).max(1)
        return cosine.clamp(-1, 1).numpy(), cluster.int().numpy()

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]
