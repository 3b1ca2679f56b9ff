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

from datapruner.corpus.second_corpus import SECOND_CORPUS
from datapruner.scorers._nearest_centroid import CentroidScorer
from datapruner.scoring.scorer import NOTHING, Batch, State
from datapruner.scoring.second_vectors import SecondVectors


@dataclass(frozen=True)
class FeatureMapping(CentroidScorer):
    """Paper: Zhang et al. 2023, DP4TL (arXiv:2310.08782); share of target rows that fall into the row's cluster.

    `target` is a corpus or score table with the same `features`.
    """

    target: str = field(default="", metadata=SECOND_CORPUS)

    direction: ClassVar[str] = "higher is a cluster that more of the target falls into; in [0, 1]"
    cost: ClassVar[str] = "k-means, then 2 k d FLOP a row"

    def default_k(self, rows: int) -> float:
        return rows**0.5

    def check(self) -> None:
        super().check()
        self._target.check()

    def identity(self) -> dict[str, str]:
        return {"target": self._target.fingerprint()}

    def fit(self, corpus: Iterable[Batch]) -> State:
        centroids = super().fit(corpus)["centroids"]
        votes = np.zeros(len(centroids), np.int64)
        for _, vectors in self._target.blocks() if len(centroids) else ():
            votes += np.bincount(self.nearest_of(vectors, centroids)[1], minlength=len(votes))
        return {"centroids": centroids, "votes": votes}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        clusters = self.nearest(batch, state)[1]
        return (state["votes"][clusters] / max(1, state["votes"].sum())).astype(np.float32)

    @property
    def _target(self) -> SecondVectors:
        return SecondVectors(self.target, "feature_mapping.target", self.features)
