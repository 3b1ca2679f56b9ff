"""Feature mapping, DP4TL (Zhang et al. 2023, arXiv:2310.08782): clusters of a source corpus that a target looks like.

    score = share of the target rows whose nearest source cluster is the row's

Higher is a cluster that more of the target falls into; no labels are needed. Source embeddings are clustered by
spherical k-means; each target row votes for the cluster whose centroid is nearest to it. The paper keeps all rows of
the clusters with most votes: top keeps whole clusters but for the last one. k = 0 takes the root of the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from datapruner.corpus.second_corpus import SECOND_CORPUS
from datapruner.scorers._drawn_vectors import drawn_vectors
from datapruner.scorers._vector_file import assigned, centroids_of
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from datapruner.scoring.second_vectors import SecondVectors
from prunekernels._unit import unit_rows


@dataclass(frozen=True)
class FeatureMapping(Scorer):
    """Paper: Zhang et al. 2023, DP4TL (arXiv:2310.08782); share of target rows that fall into the row's cluster.

    `features` names the field or column with a row's embedding, and the same of the corpus or score table `target`.
    """

    target: str = field(default="", metadata=SECOND_CORPUS)
    features: str = "embedding"
    k: int = 0
    iterations: int = 20
    train_rows: int = 262_144
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    direction: ClassVar[str] = "higher is a cluster that more of the target falls into; in [0, 1]"
    cost: ClassVar[str] = "k-means, then 2 k d FLOP a row"

    def check(self) -> None:
        if self.k < 0 or self.iterations < 1 or self.train_rows < max(1, self.k):
            raise ValueError(
                "feature_mapping wants k >= 0, iterations >= 1 and train_rows of at least k and 1, got "
                f"{self.k}, {self.iterations} and {self.train_rows}"
            )
        self._target.check()

    def vectors(self) -> tuple[str, ...]:
        return (self.features,)

    def identity(self) -> dict[str, str]:
        return {"target": self._target.fingerprint()}

    def fit(self, corpus: Iterable[Batch]) -> State:
        drawn = drawn_vectors(corpus, self.features, self.train_rows, self.seed)
        k = self.k or max(1, round(drawn.total**0.5))
        centroids = centroids_of(unit_rows(torch.tensor(drawn.vectors)).numpy(), k, self.iterations, self.seed)
        votes = np.zeros(len(centroids), np.int64)
        for _, vectors in self._target.blocks() if len(centroids) else ():
            votes += np.bincount(self._clusters(vectors, centroids), minlength=len(votes))
        return {"centroids": centroids, "votes": votes}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        votes, clusters = self._found(batch, state)
        return (votes[clusters] / max(1, votes.sum())).astype(np.float32)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`cluster`: the number of the nearest centroid, int32."""
        return {"cluster": self._found(batch, state)[1].astype(np.int32)}

    def _found(self, batch: Batch, state: State) -> tuple[np.ndarray, np.ndarray]:
        if "votes" not in state:
            raise ValueError("feature_mapping wants the state that fit(corpus) returned")
        rows = batch.vectors[self.features]
        return state["votes"], self._clusters(rows, state["centroids"]) if len(rows) else np.zeros(0, np.int64)

    def _clusters(self, vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
        if vectors.shape[1] != centroids.shape[1]:
            raise ValueError(f"feature_mapping wants vectors of {centroids.shape[1]} numbers, got {vectors.shape[1]}")
        return assigned(unit_rows(torch.tensor(vectors)).numpy(), np.array(centroids))[0]

    @property
    def _target(self) -> SecondVectors:
        return SecondVectors(self.target, "feature_mapping.target", self.features)
