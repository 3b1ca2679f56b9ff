"""Nearness to the k nearest neighbours, whose distance tells outliers (Ramaswamy et al. 2000).

    score = mean cosine to the k most similar other rows

Higher lies in a dense place, lower is an outlier. Neighbours are looked for among all rows up to `rows`, beyond that
among so many drawn by uid. A row is not its own neighbour: it is known by its uid, not by its place among the nearest,
where a copy may stand before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from datapruner.scorers._neighbors import NeighborScorer


@dataclass(frozen=True)
class KnnDensity(NeighborScorer):
    """Paper: Ramaswamy et al. 2000 (ACM SIGMOD, kNN outliers); mean cosine to the `k` nearest other rows."""

    k: int = 10

    direction: ClassVar[str] = "higher has nearer neighbours, lower is an outlier; in [-1, 1]"
    cost: ClassVar[str] = "2 n^2 d FLOP for n rows, a block at a time"

    def check(self) -> None:
        if self.k < 1 or self.rows <= self.k:
            raise ValueError(f"knn_density wants k of at least 1 and more rows than that, got {self.k} and {self.rows}")

    def of_cosines(self, cosines: torch.Tensor) -> torch.Tensor:
        nearest = cosines.topk(min(self.k, cosines.shape[1]), dim=1).values
        # -inf is the row itself, where there are no more than k others
        known = nearest > -torch.inf
        return nearest.masked_fill(~known, 0).sum(1, dtype=torch.float64) / known.sum(1).clamp(min=1)
