"""D2 pruning (Maharana et al. 2024, arXiv:2310.07931): difficulty and diversity by messages on a graph of neighbours.

    forward:  s'_i = s_i + sum over i's k nearest of exp(-forward d_ij) s_j
    reverse:  pick the largest s', then for each neighbour j of the pick i    s'_j -= exp(-gamma d_ij) s'_i

A row amid hard ones gains, a row beside one that is picked loses. Each pick is final, so that a smaller keep_ratio
keeps a subset of what a larger one keeps. The paper's graph is that of a class, for which `per` makes the groups;
its cut of mislabelled rows is an earlier step (`within`).

The k nearest are exact, a block of rows at a time: 2 N^2 d FLOP, memory O(N k) beside the vectors. The picks come
off a heap whose outdated entries are passed over: O((N + n k) log N), where the published loop takes O(n N).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector
from datapruner.selectors._columns import drawn_order, points

# products that are made at a time (16 MiB)
BLOCK_PAIRS = 2**22


@dataclass(frozen=True)
class MessagePassing(Selector):
    """Paper: Maharana et al. 2024, D2 (arXiv:2310.07931); high scores, each pick discounting its neighbours.

    `forward` and `gamma` are the decay of messages with the distance in `features`, forward and back.
    """

    features: str = "embedding"
    neighbours: int = 10
    gamma: float = 0.1
    forward: float = 1.0
    metric: Literal["euclidean", "cosine"] = "euclidean"

    reads: ClassVar[str] = "scores and vectors"
    direction: ClassVar[str] = "high, less beside kept ones"
    cost: ClassVar[str] = "2 N^2 d FLOP for the neighbours, then O((N + n k) log N)"
    nested: ClassVar[bool] = True

    def check(self) -> None:
        if self.metric not in ("euclidean", "cosine") or self.neighbours < 1 or self.gamma < 0 or self.forward < 0:
            raise ValueError(
                f"message_passing wants metric euclidean or cosine, at least 1 neighbour, gamma and forward of at "
                f"least 0, got {self.metric!r}, {self.neighbours}, {self.gamma} and {self.forward}"
            )

    def choose(self, candidates: Candidates, n: int) -> Choice:
        kept = np.zeros(len(candidates), dtype=bool)
        if n:
            order = drawn_order(candidates, self.seed)
            places, distances = nearest(
                points(candidates, self.features, order, self.metric == "cosine"), self.neighbours
            )
            # between rows of length 1 half the squared distance is 1 - cos
            distances = distances**2 / 2 if self.metric == "cosine" else distances
            scores = candidates.scores[order].astype(np.float64)
            scores += (np.exp(-self.forward * distances) * scores[places]).sum(1)
            kept[order[pick(scores, places, np.exp(-self.gamma * distances), n)]] = True
        return Choice(kept)

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        text = f"{candidates.by}, with its neighbours' and less what kept neighbours took, below the kept"
        return np.zeros(len(candidates), dtype=np.int8), [text if kept.any() else "its share is 0 rows"]


def nearest(vectors: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest others of each of `vectors` [N, d] (all, where there are fewer), by place int64 and distance."""
    n = len(vectors)
    k = min(k, n - 1)
    half = vectors.square().sum(1) / 2
    height = min(n, max(1, BLOCK_PAIRS // n))
    # one block for all turns, or the heap grows by one a turn
    products = torch.empty(height, n)
    places = torch.empty(n, k, dtype=torch.int64)
    distances = torch.empty(n, k, dtype=torch.float64)
    for start in range(0, n, height):
        block = vectors[start : start + height]
        # x.y - |y|^2 / 2 orders the others as minus the distance does
        closeness = torch.addmm(-half, block, vectors.T, out=products[: len(block)])
        # itself by place: an equal row is a neighbour
        closeness.diagonal(start).fill_(-torch.inf)
        places[start : start + height] = closeness.topk(k).indices
        for column, others in enumerate(places[start : start + height].T):
            distances[start : start + height, column] = (block - vectors[others]).double().norm(dim=-1)
    return places.numpy(), distances.numpy()


def pick(scores: np.ndarray, places: np.ndarray, discounts: np.ndarray, n: int) -> list[int]:
    """`n` rows by falling score, each taking `discounts` [N, k] of its own from its neighbours `places` [N, k]."""
    now = scores.tolist()
    heap = [(-score, row) for row, score in enumerate(now)]
    heapq.heapify(heap)
    is_picked = np.zeros(len(now), dtype=bool)
    picks: list[int] = []
    while len(picks) < n:
        top, row = heapq.heappop(heap)
        # an entry that was overtaken by a later one of its row
        if is_picked[row] or -top != now[row]:
            continue
        picks.append(row)
        is_picked[row] = True
        for other, discount in zip(places[row].tolist(), discounts[row].tolist(), strict=True):
            if not is_picked[other]:
                now[other] -= discount * now[row]
                heapq.heappush(heap, (-now[other], other))
    return picks
