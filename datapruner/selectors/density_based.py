"""Density-based pruning (Abbas et al. 2024, arXiv:2401.04578): more rows from clusters that are wide and apart.

    d_intra = mean cosine distance of a cluster's rows to its centroid
    d_inter = mean cosine distance of its centroid to the `neighbours` nearest other centroids
    p = softmax(d_intra d_inter / temperature)

The n rows are shared out as near to n p as the sizes allow, and at least `least` of the even share for every
cluster: the paper's quadratic program, solved exactly. Of a cluster the rows with the highest scores are kept, in
the paper the farthest from the centroid. Duplicates must be gone before. Nothing is nested: shares move with n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector
from prunekernels import budget

# distances of centroids that are made at a time (32 MiB)
BLOCK_PAIRS = 2**22


@dataclass(frozen=True)
class DensityBased(Selector):
    """Paper: Abbas et al. 2024 (arXiv:2401.04578); farthest rows of clusters, more of wide clusters that lie apart.

    `clusters` is the column with the clusters, and with the scores where none are named.
    """

    clusters: str = "prototypicality"
    temperature: float = 0.1
    least: float = 0.5
    neighbours: int = 20

    reads: ClassVar[str] = "scores, clusters and centroids"
    direction: ClassVar[str] = "high, the farthest of each cluster"
    cost: ClassVar[str] = "a partition for each of K clusters, 2 K^2 d FLOP for their distances"
    nested: ClassVar[bool] = False

    def check(self) -> None:
        if not self.temperature > 0 or not 0 <= self.least <= 1 or self.neighbours < 1:
            raise ValueError(
                f"density_based wants temperature above 0, least in [0, 1] and at least 1 neighbour, "
                f"got {self.temperature}, {self.least} and {self.neighbours}"
            )

    def default_by(self) -> str | None:
        return self.clusters

    def choose(self, candidates: Candidates, n: int) -> Choice:
        ids = candidates.field(self.clusters, "cluster")
        centroids = candidates.state(self.clusters)["centroids"]
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(centroids):
            raise ValueError(f"want clusters under {len(centroids)}, got {ids.min()} to {ids.max()}")
        sizes = np.bincount(ids, minlength=len(centroids))
        distance = candidates.field(self.clusters, "score").astype(np.float64)
        d_intra = np.bincount(ids, distance, minlength=len(centroids)) / np.maximum(sizes, 1)
        shares = self._shares(d_intra * apart(centroids, self.neighbours), sizes > 0)
        even = int(self.least * n / max(1, int((sizes > 0).sum())) + 1e-9)
        counts = budget.allocate(n, sizes.tolist(), shares.tolist(), np.minimum(even, sizes).tolist()).tolist()
        narrow = ids.astype(np.min_scalar_type(len(centroids)))
        return Choice(ranking.highest_of_each(candidates.scores, narrow, counts, partial(candidates.lots, self.seed)))

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        ids = candidates.field(self.clusters, "cluster")
        lowest = np.full(int(ids.max()) + 1, np.inf, dtype=np.float32)
        np.minimum.at(lowest, ids[kept], candidates.scores[kept])
        codes = (candidates.scores == lowest[ids]).astype(np.int8)
        codes[np.isinf(lowest[ids])] = 2
        return codes, [
            f"{candidates.by} below those that are kept of its cluster",
            f"{candidates.by} ties with the lowest that is kept of its cluster: drawn by uid",
            "the share of its cluster is 0 rows",
        ]

    def _shares(self, complexity: np.ndarray, filled: np.ndarray) -> np.ndarray:
        """The softmax over clusters that have rows, 0 for the others."""
        scaled = np.where(filled, complexity / self.temperature, -np.inf)
        return np.exp(scaled - scaled.max()) if filled.any() else np.zeros(len(scaled))


def apart(centroids: np.ndarray, neighbours: int) -> np.ndarray:
    """The mean cosine distance of each of `centroids` [k, d] to its nearest others, float64 [k]; 1 for a lone one."""
    points = centroids.astype(np.float64)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-30)
    n = min(neighbours, len(points) - 1)
    if n < 1:
        return np.ones(len(points))
    found, height = np.empty(len(points)), max(1, BLOCK_PAIRS // len(points))
    for start in range(0, len(points), height):
        distance = 1 - points[start : start + height] @ points.T
        # itself by place, not by distance: others may be equal to it
        np.fill_diagonal(distance[:, start:], np.inf)
        found[start : start + height] = np.partition(distance, n - 1, axis=1)[:, :n].mean(1)
    return found
