"""A classifier whose knowledge is rows of embeddings, after Geirhos et al. 2025 (arXiv:2408.08172).

    memory = KnnMemory()
    memory.add(uids, vectors, labels)                 # grows at any time, also by new classes
    memory.weigh()                                    # soft pruning: unreliable rows count less
    memory.prune(wrong=128)                           # hard pruning: they leave
    memory.remove(uids)                               # unlearned: as if they had never been there
    answer = memory.decide(vectors)                   # labels, and the rows that they rest on

Exact search by cosine, in faiss. What a memory answers hangs on its rows alone and not on which others there were: with
any row that comes or goes the reliabilities, which rows found out about each other, go too, until `weigh` is called
again. Rows at the same distance come in the order in which they were added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from datapruner.memory.reliability import reliability, wrong_votes
from datapruner.memory.voting import Voting, vote_totals, vote_weights
from prunekernels._unit import unit_rows
from prunekernels.extras import require

if TYPE_CHECKING:
    import faiss

STEP = 1024


@dataclass(frozen=True)
class Answer:
    """`labels` [n]; the uids of the rows each rests on, nearest first, and their votes' weights, float64 [n, k]."""

    labels: list[str | int]
    neighbours: list[list[str]]
    weights: np.ndarray


class KnnMemory:
    """Rows of unit vectors with labels. `k`: how many of them decide. `voting`: how, see `voting`."""

    def __init__(self, k: int = 100, voting: Voting = "rank") -> None:
        if k < 1:
            raise ValueError(f"want k of at least 1, got {k}")
        vote_weights(np.zeros((0, 1)), voting)
        self.k, self.voting = k, voting
        self.uids: list[str] = []
        self.labels: list[str | int] = []
        self.vectors = np.zeros((0, 0), np.float32)
        # a factor of each row's votes, float64 [n]
        self.reliability = np.zeros(0)
        self._index: faiss.IndexFlatIP | None = None

    def __len__(self) -> int:
        return len(self.uids)

    def add(self, uids: Sequence[str], vectors: np.ndarray, labels: Sequence[str | int]) -> None:
        """Rows more: `vectors` [n, d] of finite numbers. Raises ValueError for a uid that is there or comes twice."""
        new = _unit(vectors)
        if not len(new) == len(uids) == len(labels) or (len(self) and new.shape[1] != self.vectors.shape[1]):
            width = self.vectors.shape[1] if len(self) else "d"
            raise ValueError(
                f"want uids, labels and vectors [n, {width}], got {len(uids)}, {len(labels)}, {[*new.shape]}"
            )
        there = set(self.uids)
        for uid in uids:
            if uid in there:
                raise ValueError(f"want each uid once, got {uid!r} again: remove it first")
            there.add(uid)
        self.vectors = np.concatenate([self.vectors, new]) if len(self) else new
        self._index = None
        self.uids, self.labels = [*self.uids, *uids], [*self.labels, *labels]
        self.reliability = np.ones(len(self))

    def remove(self, uids: Sequence[str]) -> None:
        """Unlearn rows. Raises ValueError for a uid that is not there, with nothing removed."""
        leaving = set(uids)
        missing = leaving - set(self.uids)
        if missing:
            raise ValueError(f"want uids of the memory, got {min(missing)!r}")
        self._keep(np.array([uid not in leaving for uid in self.uids], dtype=bool))

    def decide(self, vectors: np.ndarray) -> Answer:
        """The labels of `vectors` [n, d]; raises ValueError where the memory is empty or d is another."""
        queries = _unit(vectors)
        if not len(self) or queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"want vectors like the memory's {[*self.vectors.shape]}, got {[*queries.shape]}")
        rows, cosines = self._nearest(queries, min(self.k, len(self)))
        classes, decided, weights = self._decided(rows, cosines, self.reliability)
        neighbours = [[self.uids[row] for row in found] for found in rows.tolist()]
        return Answer([classes[number] for number in decided.tolist()], neighbours, weights)

    def weigh(self) -> np.ndarray:
        """Soft pruning: set the reliability of every row; returns its wrong votes, int64 [n]."""
        wrong = self.wrong_votes()
        self.reliability = reliability(wrong)
        return wrong

    def prune(self, wrong: int) -> list[str]:
        """Hard pruning: remove the rows that contributed to at least `wrong` wrong decisions; returns their uids."""
        if wrong < 1:
            raise ValueError(f"want a number of wrong decisions of at least 1, got {wrong}")
        leaves = self.wrong_votes() >= wrong
        removed = [self.uids[row] for row in np.flatnonzero(leaves)]
        self._keep(~leaves)
        return removed

    def wrong_votes(self) -> np.ndarray:
        """To how many wrong decisions about the other rows each contributed, int64 [n]; one pass over the memory.

        The votes are those of a memory that was not weighed.
        """
        if len(self) < 2:
            return np.zeros(len(self), dtype=np.int64)
        rows, cosines = self._nearest(self.vectors, min(self.k + 1, len(self)), leaves_out_itself=True)
        classes, decided, _ = self._decided(rows, cosines, np.ones(len(self)))
        numbers = self._numbers(classes)
        return wrong_votes(rows, numbers[rows], decided, numbers, len(self))

    def _decided(
        self, rows: np.ndarray, cosines: np.ndarray, factors: np.ndarray
    ) -> tuple[list[str | int], np.ndarray, np.ndarray]:
        """All classes, the number of each decision's, and the votes' weights; of equal totals the first class wins."""
        classes = sorted(set(self.labels), key=lambda label: (str(label), isinstance(label, str)))
        weights = vote_weights(cosines, self.voting) * factors[rows]
        totals = vote_totals(self._numbers(classes)[rows], weights, len(classes))
        return classes, totals.argmax(1), weights

    def _numbers(self, classes: list[str | int]) -> np.ndarray:
        numbers = {label: number for number, label in enumerate(classes)}
        return np.array([numbers[label] for label in self.labels], dtype=np.int64)

    def _nearest(self, queries: np.ndarray, k: int, leaves_out_itself: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Rows and cosines [n, k] of the nearest; [n, k - 1] where query i is row i and is left out, by its number."""
        if self._index is None:
            self._index = require("faiss", "data").IndexFlatIP(self.vectors.shape[1])
            self._index.add(self.vectors)
        parts = [self._index.search(queries[first : first + STEP], k) for first in range(0, len(queries), STEP)]
        cosines = np.concatenate([np.zeros((0, k), np.float32), *(found for found, _ in parts)])
        rows = np.concatenate([np.zeros((0, k), np.int64), *(found for _, found in parts)])
        order = np.lexsort((rows, -cosines))
        rows, cosines = np.take_along_axis(rows, order, 1), np.take_along_axis(cosines, order, 1)
        if not leaves_out_itself:
            return rows, cosines
        # a copy may stand before the row itself, which may even be beyond the k nearest: then the last one goes
        itself = rows == np.arange(len(rows))[:, None]
        itself[~itself.any(1), -1] = True
        return rows[~itself].reshape(len(rows), k - 1), cosines[~itself].reshape(len(rows), k - 1)

    def _keep(self, kept: np.ndarray) -> None:
        places = np.flatnonzero(kept)
        self.vectors, self._index = self.vectors[places], None
        self.uids, self.labels = [self.uids[row] for row in places], [self.labels[row] for row in places]
        self.reliability = np.ones(len(self))


def _unit(vectors: np.ndarray) -> np.ndarray:
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"want finite vectors [n, d], got {[*vectors.shape]}")
    return unit_rows(torch.from_numpy(vectors.astype(np.float32))).numpy()
