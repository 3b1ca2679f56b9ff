"""Which rows are copies, and of which: from similarities of pairs to one link a row, in three published senses.

Rows stand in an order; of two that are alike the later goes. A link is the similarity at which a row goes, and the row
for which it goes; at a threshold t go the rows whose similarity is above t.

    triangular   the largest similarity to any earlier row (the code of SemDeDup, Abbas et al. 2023, arXiv:2303.09540):
                 exact at every t; a row may go for one that goes itself
    components   the t up to which it is not the first of its connected component (SemDeDup as its paper tells it, and
                 MinHash pipelines: Lee et al. 2022, arXiv:2107.06499): exact at every t; one row a component stays
    greedy       the largest similarity to an earlier row that stays: exact at the t it was made for, where each row
                 that goes has one so similar that stays. At a larger t what goes still has such a row, but two
                 rows that went for a third may both stay; a smaller t lets rows go for some that go themselves
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np

from prunekernels.extras import require

Semantics = Literal["greedy", "triangular", "components"]
SEMANTICS = ("greedy", "triangular", "components")
# pairs that wait until they are reduced to a forest
MOST_PAIRS = 1 << 22


class Pairs(NamedTuple):
    """Rows int64 [m], each with an earlier one int64 [m] and their similarity float32 [m]."""

    later: np.ndarray
    earlier: np.ndarray
    similarity: np.ndarray


class Links(NamedTuple):
    """For each row the similarity at which it goes, float32 [n], 0 where no pair has it, and for which, int64 [n]
    or -1."""

    similarity: np.ndarray
    nearest: np.ndarray


def links(pairs: Callable[[], Iterable[Pairs]], rank: np.ndarray, semantics: Semantics, threshold: float) -> Links:
    """The links of rows in the order `rank` int64 [n] from `pairs`, which may be gone through twice."""
    if semantics == "components":
        return components(pairs(), rank)
    return closest(pairs(), rank, gone_by_greed(pairs(), rank, threshold) if semantics == "greedy" else None)


def closest(pairs: Iterable[Pairs], rank: np.ndarray, gone: np.ndarray | None = None, least: float = 0.0) -> Links:
    """The most similar earlier row of each, of equally similar ones the first by `rank` int64 [n].

    `gone` bool [n]: rows that do not count as earlier ones; `least` is the similarity of no pair.
    """
    links = Links(np.full(len(rank), least, np.float32), np.full(len(rank), -1, np.int64))
    for block in pairs:
        later, earlier, similarity = block if gone is None else of(block, ~gone[block.earlier])
        # the last of each row is its best
        order = np.lexsort([-rank[earlier], similarity, later])
        last = order[np.append(np.diff(later[order]) != 0, True)] if len(order) else order
        later, earlier, similarity = later[last], earlier[last], similarity[last]
        before = links.nearest[later]
        same = (similarity == links.similarity[later]) & ((before < 0) | (rank[earlier] < rank[before]))
        better = (similarity > least) & ((similarity > links.similarity[later]) | same)
        links.similarity[later[better]], links.nearest[later[better]] = similarity[better], earlier[better]
    return links


def gone_by_greed(pairs: Iterable[Pairs], rank: np.ndarray, threshold: float) -> np.ndarray:
    """Which rows go: those more similar than `threshold` to an earlier one that stays; bool [n]."""
    found = [of(block, block.similarity > np.float32(threshold)) for block in pairs]
    later = np.concatenate([block.later for block in found] or [np.zeros(0, np.int64)])
    earlier = np.concatenate([block.earlier for block in found] or [np.zeros(0, np.int64)])
    order = rank[later].argsort(kind="stable")
    gone = bytearray(len(rank))
    # by rank of the later one: whether the earlier one stays is known by then
    for start in range(0, len(order), MOST_PAIRS):
        some = order[start : start + MOST_PAIRS]
        for row, other in zip(later[some].tolist(), earlier[some].tolist(), strict=True):
            if not gone[other]:
                gone[row] = 1
    return np.frombuffer(gone, np.uint8).astype(bool)


def components(pairs: Iterable[Pairs], rank: np.ndarray) -> Links:
    """For each row the similarity at which it joins an earlier one's component, and the first row of that."""
    forest, waiting = _nothing(), []
    for block in pairs:
        waiting.append(block)
        if sum(len(some.later) for some in waiting) > MOST_PAIRS:
            forest, waiting = _forest([forest, *waiting], len(rank)), []
    return elders(_forest([forest, *waiting], len(rank)), rank)


def elders(edges: Pairs, rank: np.ndarray) -> Links:
    """Links from the edges of a spanning forest, which side is earlier does not matter.

    Merged from the most similar edge on; of two components the one whose first row is later loses it.
    """
    links = Links(np.zeros(len(rank), np.float32), np.full(len(rank), -1, np.int64))
    order = (-edges.similarity).argsort(kind="stable")
    sides = (side[order].tolist() for side in edges)
    parent: dict[int, int] = {}

    def firstof(row: int) -> int:
        while (above := parent.get(row, row)) != row:
            # every other step is cut out for the next time
            parent[row] = row = parent.get(above, above)
        return row

    joined: list[tuple[int, int, float]] = []
    for later, earlier, similarity in zip(*sides, strict=True):
        one, other = firstof(later), firstof(earlier)
        if one != other:
            elder, younger = (one, other) if rank[one] < rank[other] else (other, one)
            parent[younger] = elder
            joined.append((younger, elder, similarity))
    for younger, elder, similarity in joined:
        links.similarity[younger], links.nearest[younger] = similarity, elder
    return _level(links)


def equal_rows(hashes: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `order` int64 [m] whose hash one before them has, and the first of those; `hashes` uint64 [n]."""
    rows, starts = buckets(hashes[order], order)
    repeated = starts != np.arange(len(rows))
    return rows[repeated], rows[starts[repeated]]


def buckets(keys: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `order`, whose keys are `keys`, by key and then as they were; and where each one's bucket starts."""
    by_key = np.argsort(keys, kind="stable")
    ordered, places = keys[by_key], np.arange(len(keys))
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    return order[by_key], np.maximum.accumulate(np.where(begins, places, 0))


def clusters(links: Links, threshold: float) -> np.ndarray:
    """The row that stays for each at `threshold`, its own number where it does; int64 [n]."""
    found = np.where(links.similarity > np.float32(threshold), links.nearest, np.arange(len(links.nearest)))
    # each step halves the way to the root
    while (further := found[found]).tobytes() != found.tobytes():
        found = further
    return found


def _level(links: Links) -> Links:
    """Where an elder goes at the same similarity, the row goes for that one's elder: ties hang on no order of edges."""
    similarity, nearest = links
    while True:
        above = np.where(nearest < 0, 0, nearest)
        moves = (nearest >= 0) & (nearest[above] >= 0) & (similarity[above] == similarity)
        if not moves.any():
            return Links(similarity, nearest)
        nearest = np.where(moves, nearest[above], nearest)


def _forest(blocks: list[Pairs], n: int) -> Pairs:
    """The edges of a maximum spanning forest."""
    later, earlier, similarity = (np.concatenate(part) for part in zip(*blocks, strict=True))
    low, high = np.minimum(later, earlier), np.maximum(later, earlier)
    # of a pair that came twice the larger
    order = np.lexsort([-similarity, high, low])
    low, high, similarity = low[order], high[order], similarity[order]
    fresh = np.ones(len(low), dtype=bool)
    fresh[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    sparse = require("scipy.sparse", "data")
    # an edge of weight 0 would be none
    weights = sparse.coo_array((2 - similarity[fresh].astype(np.float64), (low[fresh], high[fresh])), shape=(n, n))
    tree = require("scipy.sparse.csgraph", "data").minimum_spanning_tree(weights.tocsr()).tocoo()
    return Pairs(tree.col.astype(np.int64), tree.row.astype(np.int64), (2 - tree.data).astype(np.float32))


def of(pairs: Pairs, which: np.ndarray) -> Pairs:
    """Those of the pairs for which `which` bool [m] is true."""
    return Pairs(pairs.later[which], pairs.earlier[which], pairs.similarity[which])


def _nothing() -> Pairs:
    return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
