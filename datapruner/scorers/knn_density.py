"""Nearness to the k nearest neighbours, whose distance tells outliers (Ramaswamy et al. 2000).

    score = mean cosine to the k most similar other rows

Higher lies in a dense place, lower is an outlier. Neighbours are looked for among all rows up to `rows`, beyond that
among so many drawn by uid. A row is not its own neighbour: it is known by its uid, not by its place among the nearest,
where a copy may stand before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._drawn_vectors import drawn_vectors
from datapruner.scorers._neighbors import blocks_of_cosines
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class KnnDensity(Scorer):
    """Paper: Ramaswamy et al. 2000 (ACM SIGMOD, kNN outliers); mean cosine to the `k` nearest other rows.

    `features` names the field or column with a row's embedding, [d].
    """

    features: str = "embedding"
    k: int = 10
    rows: int = 65_536
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    direction: ClassVar[str] = "higher has nearer neighbours, lower is an outlier; in [-1, 1]"
    cost: ClassVar[str] = "2 n^2 d FLOP for n rows, a block at a time"

    def check(self) -> None:
        if self.k < 1 or self.rows <= self.k:
            raise ValueError(f"knn_density wants k of at least 1 and more rows than that, got {self.k} and {self.rows}")

    def vectors(self) -> tuple[str, ...]:
        return (self.features,)

    def fit(self, corpus: Iterable[Batch]) -> State:
        drawn = drawn_vectors(corpus, self.features, self.rows, self.seed)
        return {"keys": drawn.keys, "vectors": drawn.vectors}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        scores = []
        for cosines in blocks_of_cosines("knn_density", batch, self.features, state):
            nearest = cosines.topk(min(self.k, cosines.shape[1]), dim=1).values
            # -inf is the row itself, where there are no more than k others
            known = nearest > -torch.inf
            total = nearest.masked_fill(~known, 0).sum(1, dtype=torch.float64)
            scores.append(total / known.sum(1).clamp(min=1))
        return torch.cat(scores).float().numpy() if scores else np.zeros(0, np.float32)
