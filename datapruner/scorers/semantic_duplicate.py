"""Semantic duplicates, SemDeDup (Abbas et al. 2023, arXiv:2303.09540): rows whose embeddings nearly coincide.

    score = cosine of the row to an earlier row of its cluster        which of them count, `semantics` says

A row goes where the score is above a threshold (1 - epsilon in the paper); a row without an earlier one has -1.
Rows of one k-means cluster are compared in full, up to 8,192 rows the whole corpus. The row farthest from its centroid
comes first ("hard", as published), or the nearest ("easy"), or the order is that of the corpus ("first") or drawn by
uid ("drawn"); rows of an older corpus come before all others. `semantics`, see _copies.py: "greedy" drops no row for
being near one that goes itself, at the given threshold; "triangular" is the published code's and "components" the
paper's, and both hold at every threshold, so that one pass serves all of them.

k = 0 takes K* = sqrt(n / (2 iterations)), where k-means (2 n d K iterations FLOP) and the comparison (n^2 d / K) cost
least together. A pair that one clustering tears apart, another one joins: `clusterings` of 2 square the share of
pairs that are missed; k and one clustering are the published method. Centroids are trained on all rows up to
`train_rows`, beyond that on so many drawn by uid. A cluster of more than 8,192 rows is clustered again, so that its
cosines fit into 256 MiB; equal vectors are found by a hash and not compared. The vectors lie in a temporary
file; memory is about 100 bytes a row beside the training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import ClassVar, Literal, get_args

import numpy as np
import torch

from datapruner.corpus.second_corpus import SECOND_CORPUS
from datapruner.corpus.uids import hash64, splitmix64
from datapruner.scorers import _copies
from datapruner.scorers._copies import Links, Pairs, Semantics
from datapruner.scorers._copy_state import copy_details, copy_score, copy_state
from datapruner.scorers._dense_copies import MOST_ROWS, closest_among, copies_of, tree_pairs
from datapruner.scorers._vector_file import Clusters, VectorFile, clustered, cosines_to_centroids, groups
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from datapruner.scoring.second_vectors import SecondVectors
from datapruner.scoring.workspace import Workspace

Keep = Literal["hard", "easy", "first", "drawn"]
# pairs of a step
STEP_PAIRS = 1 << 28


@dataclass(frozen=True)
class SemanticDuplicate(Scorer):
    """Paper: Abbas et al. 2023, SemDeDup (arXiv:2303.09540); cosine to an earlier row of the cluster.

    `features` names the field or column with a row's embedding. `against` is an older corpus with that field, or its
    score table with that column. `threshold` is what "greedy" decides by, and at which `cluster` in the details is cut.
    """

    features: str = "embedding"
    semantics: Semantics = "greedy"
    threshold: float = 0.9
    keep: Keep = "hard"
    against: str | None = field(default=None, metadata=SECOND_CORPUS)
    k: int = 0
    clusterings: int = 2
    iterations: int = 10
    train_rows: int = 1_048_576
    seed: int = 0

    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ()
    scores_by_number: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is more like an earlier row; in [-1, 1]"
    cost: ClassVar[str] = "k-means 2 n d k FLOP an iteration, pairs 2 n^2 d / k for k clusters"
    default_selector: ClassVar[str] = "threshold:maximum=0.9"

    def check(self) -> None:
        if self.semantics not in _copies.SEMANTICS or self.keep not in get_args(Keep):
            raise ValueError(
                f"semantic_duplicate wants semantics of {', '.join(_copies.SEMANTICS)} and keep of "
                f"{', '.join(get_args(Keep))}, got {self.semantics!r} and {self.keep!r}"
            )
        if (
            self.k < 0
            or min(self.iterations, self.clusterings) < 1
            or self.train_rows < max(1, self.k)
            or not -1 < self.threshold < 1
        ):
            raise ValueError(
                "semantic_duplicate wants k >= 0, iterations and clusterings >= 1, train_rows of at least k and 1, and "
                f"a threshold in (-1, 1), got {self.k}, {self.iterations}, {self.clusterings}, {self.train_rows} and "
                f"{self.threshold}"
            )
        if self.against is not None:
            self._older.check()

    def vectors(self) -> tuple[str, ...]:
        return (self.features,)

    def identity(self) -> dict[str, str]:
        return {} if self.against is None else {"against": self._older.fingerprint()}

    def fit(self, corpus: Iterable[Batch], workspace: Workspace | None = None) -> State:
        self.check()
        workspace, file = workspace or Workspace(), VectorFile()
        for batch in corpus:
            file.add(
                batch.uids, batch.keys, batch.vectors[self.features], f"semantic_duplicate.features={self.features}"
            )
        n = len(file)
        for uids, vectors in self._older.blocks() if self.against is not None else ():
            file.add(uids, hash64(uids), vectors, "semantic_duplicate.against")
        links = self._links(file, n, workspace)
        return copy_state(links, n, self.threshold, file.uids)

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        return copy_score(batch, state, "semantic_duplicate")

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        return copy_details(batch, state)

    @property
    def _older(self) -> SecondVectors:
        return SecondVectors(self.against or "", "semantic_duplicate.against", self.features)

    def _links(self, file: VectorFile, n: int, workspace: Workspace) -> Links:
        """Of all rows in the file, those from `n` on of the older corpus."""
        rows, keys = file.rows(), file.keys()
        clusterings = [self._clusters(rows, keys, number, workspace) for number in range(self.clusterings)]
        rank = self._rank(rows, keys, clusterings[0], n)
        copies, firsts = _copies.equal_rows(file.contents(), rank.argsort())
        different = np.ones(len(keys), dtype=bool)
        different[copies] = False
        steps = [
            (number, [*_steps(self._groups(clusters.of, rows, np.flatnonzero(different)))])
            for number, clusters in enumerate(clusterings)
        ]
        compared = _Compared(rows, rank, steps, workspace)
        if self.semantics == "components":
            links = _copies.components(compared.trees(), rank)
            links.similarity[links.nearest < 0] = -1
        else:
            links = compared.links(n, self.threshold if self.semantics == "greedy" else None)
        links.similarity[copies], links.nearest[copies] = 1, firsts
        return links

    def _clusters(self, rows: np.ndarray, keys: np.ndarray, number: int, workspace: Workspace) -> Clusters:
        """The clusters of clustering `number`."""
        seed, name = self.seed + number, f"clusters_{number}"
        if (known := workspace.saved(name)) is None:
            k = self.k or max(1, round((len(rows) / (2 * self.iterations)) ** 0.5))
            drawn = np.argsort(splitmix64(keys, seed), kind="stable")[: self.train_rows]
            workspace.save(name, clustered(rows, drawn, k, self.iterations, seed)._asdict())
            known = workspace.saved(name) or {}
        return Clusters(**known)

    def _groups(self, clusters: np.ndarray, rows: np.ndarray, members: np.ndarray) -> list[np.ndarray]:
        if not self.k and len(members) <= MOST_ROWS:
            return [members] if len(members) else []
        return [*groups(members, clusters, rows, MOST_ROWS, self.seed)]

    def _rank(self, rows: np.ndarray, keys: np.ndarray, clusters: Clusters, n: int) -> np.ndarray:
        """The place of each row, int64 [n]; ties by the hash of the uid."""
        places = np.arange(len(keys))
        if self.keep in ("hard", "easy"):
            far = cosines_to_centroids(rows, clusters)
            first = far if self.keep == "hard" else -far
        else:
            first = places if self.keep == "first" else splitmix64(keys, self.seed)
        rank = np.empty(len(keys), np.int64)
        rank[np.lexsort([places, keys, first, places < n])] = places
        return rank


@dataclass(frozen=True)
class _Compared:
    """The pairs of all groups, found a step at a time, which is kept in `workspace`: `steps` are, for each number of a
    clustering, lists of groups, in which rows stand in any order."""

    rows: np.ndarray
    rank: np.ndarray
    steps: list[tuple[int, list[list[np.ndarray]]]]
    workspace: Workspace

    def trees(self) -> Iterator[Pairs]:
        """A maximum spanning tree of each group."""
        for (found,) in self._each("tree", lambda own, unit: (tree_pairs(unit),)):
            yield found

    def links(self, n: int, threshold: float | None) -> Links:
        """The most similar earlier row of each of the first `n`; with a `threshold` of those that stay at it."""
        least = 1.0 if threshold is None else threshold
        found = [*self._each("near", lambda own, unit: copies_of(unit, least))]

        def blocks(kind: int) -> Iterator[Pairs]:
            return (_copies.of(pairs[kind], pairs[kind].later < n) for pairs in found)

        if threshold is None:
            return _copies.closest(blocks(1), self.rank, least=-1.0)
        gone = _copies.gone_by_greed(blocks(0), self.rank, threshold)
        # of a row that goes the closest is near it; one that stays is compared again where its closest goes
        asks = np.zeros(len(gone), dtype=bool)
        for block in blocks(1):
            asks[block.later[gone[block.earlier] & ~gone[block.later]]] = True

        def among_those_that_stay(own: np.ndarray, unit: torch.Tensor) -> tuple[Pairs]:
            return (closest_among(unit, np.flatnonzero(asks[own]), np.flatnonzero(~gone[own])),)

        others = (pairs for (pairs,) in self._each("again", among_those_that_stay))
        return _copies.closest(chain(blocks(0), blocks(1), others), self.rank, gone, least=-1.0)

    def _each(
        self, name: str, of: Callable[[np.ndarray, torch.Tensor], Sequence[Pairs]]
    ) -> Iterator[tuple[Pairs, ...]]:
        """What `of` finds among the rows of each group, in their order, for each step as numbers of all rows."""

        def work(groups: list[np.ndarray]) -> dict[str, np.ndarray]:
            parts: dict[str, list[np.ndarray]] = {}
            for group in groups:
                own = group[self.rank[group].argsort()]
                for kind, found in enumerate(of(own, torch.from_numpy(self.rows[own]))):
                    for side, values in found._asdict().items():
                        placed = values if side == "similarity" else own[values]
                        parts.setdefault(f"{side}{kind}", []).append(placed)
            return {key: np.concatenate(arrays) for key, arrays in parts.items()}

        for number, steps in self.steps:
            for kept in self.workspace.each(f"{name}_{number}", steps, work):
                kinds = range(len(kept) // len(Pairs._fields))
                yield tuple(Pairs(*(kept[f"{side}{kind}"] for side in Pairs._fields)) for kind in kinds)


def _steps(groups: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Groups that are compared in one step, which a killed run has to do again at most."""
    waiting: list[np.ndarray] = []
    for group in groups:
        waiting.append(group)
        if sum(len(some) ** 2 for some in waiting) >= STEP_PAIRS:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
