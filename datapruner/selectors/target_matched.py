"""SnP, search and prune (Yao et al. 2023, CVPR): groups of rows that together look like a target set.

    FD = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))      Frechet distance of two sets of vectors

Groups are clusters of rows. They are sorted by their own distance to the target; of the unions of the first of them
the one with the lowest distance is taken, among those that hold n rows. Its n rows are shared out in proportion to
the groups' sizes, at least one each where n allows, and picked by farthest point inside each group. Nothing is
nested: the union grows with n. Scores are not looked at.

Counts, sums and sums of products of the groups add up, so that a union costs one eigenvalue problem of d x d: 2 K of
them for K groups, beside 4 N d^2 FLOP. Memory: the vectors in float64, and a few times d^2 numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scoring.second_vectors import SecondVectors
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector
from datapruner.selectors._columns import class_ids, drawn_order, points
from prunekernels import budget, farthest_point


@dataclass(frozen=True)
class TargetMatched(Selector):
    """Paper: Yao et al. 2023, SnP (CVPR); clusters whose union has the lowest Frechet distance to a target set.

    `target` is a corpus whose rows have the field `features`, or a score table that has the column; where it is empty
    all rows are the target. `clusters` is the column with the groups.
    """

    target: str = ""
    features: str = "embedding"
    clusters: str = "prototypicality/cluster"

    reads: ClassVar[str] = "vectors and clusters, and the vectors of another corpus"
    direction: ClassVar[str] = "none: like the target"
    cost: ClassVar[str] = "4 N d^2 FLOP and 2 K eigenvalue problems of d x d, then 2 N d a pick of each cluster"
    needs_scores: ClassVar[bool] = False
    nested: ClassVar[bool] = False

    def choose(self, candidates: Candidates, n: int) -> Choice:
        kept = np.zeros(len(candidates), dtype=bool)
        if not n:
            return Choice(kept)
        order = drawn_order(candidates, self.seed)
        vectors = points(candidates, self.features, order)
        ids, n_groups = class_ids(candidates, self.clusters)
        places = [np.flatnonzero(ids[order] == group) for group in range(n_groups)]
        chosen = self._search(vectors.double().numpy(), places, n)
        sizes = [len(places[group]) for group in chosen]
        lower = [1] * len(chosen) if n >= len(chosen) else [0] * len(chosen)
        for group, count in zip(chosen, budget.allocate(n, sizes, lower=lower).tolist(), strict=True):
            if count:
                picks = farthest_point.farthest_point(vectors[places[group]], count, "euclidean", 0)
                kept[order[places[group][picks.numpy()]]] = True
        taken = np.zeros(n_groups, dtype=bool)
        taken[chosen] = True
        texts = ["nearer to kept rows of its cluster than they are to each other", "its cluster moves the union away"]
        return Choice(kept, np.where(taken[ids], 0, 1).astype(np.int8), texts)

    def _search(self, vectors: np.ndarray, places: list[np.ndarray], n: int) -> list[int]:
        """The groups of the union that is nearest to the target and has at least `n` rows."""
        target = self._target(vectors)
        # around the target's mean sums of products lose no digits
        origin = target.mean(0)
        distance = frechet_to(Moments.of(target - origin))
        alone = [distance(Moments.of(vectors[rows] - origin)) for rows in places]
        near = sorted(range(len(places)), key=alone.__getitem__)
        union, best, length = Moments.of(vectors[:0]), np.inf, 0
        for count, group in enumerate(near, 1):
            union += Moments.of(vectors[places[group]] - origin)
            if union.n >= n and (found := distance(union)) < best:
                best, length = found, count
        return near[:length]

    def _target(self, vectors: np.ndarray) -> np.ndarray:
        if not self.target:
            return vectors
        second = SecondVectors(self.target, "target_matched.target", self.features)
        found = np.concatenate([block for _, block in second.blocks()]).astype(np.float64)
        if found.shape[1] != vectors.shape[1]:
            raise ValueError(
                f"{self.target}: want {self.features!r} of {vectors.shape[1]} numbers, got {found.shape[1]}"
            )
        return found

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        return np.zeros(len(candidates), dtype=np.int8), ["its share is 0 rows"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of `n` vectors their sum [d] and sum of products [d, d], which of two sets add up."""

    n: int
    total: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> Moments:
        """Those of `vectors` float64 [n, d]."""
        return cls(len(vectors), vectors.sum(0), vectors.T @ vectors)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.products + other.products)

    @property
    def mean(self) -> np.ndarray:
        """[d]."""
        return self.total / self.n

    @property
    def covariance(self) -> np.ndarray:
        """[d, d], over n - 1 as is usual; 0 of a single vector."""
        return (self.products - np.outer(self.total, self.mean)) / max(1, self.n - 1)


def frechet_to(goal: Moments) -> Callable[[Moments], float]:
    """The Frechet distance of normal distributions with such moments to that of `goal`."""
    values, axes = np.linalg.eigh(goal.covariance)
    root = (axes * np.sqrt(values.clip(0))) @ axes.T

    def distance(other: Moments) -> float:
        covariance = other.covariance
        # S1 S2 has the eigenvalues of the symmetric root(S1) S2 root(S1)
        shared = np.sqrt(np.linalg.eigvalsh(root @ covariance @ root).clip(0)).sum()
        gap = other.mean - goal.mean
        return float(gap @ gap + np.trace(covariance) + np.trace(goal.covariance) - 2 * shared)

    return distance
