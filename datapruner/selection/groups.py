"""Groups of rows as small whole numbers, and the rows of each without a sort of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# rows that are sorted at a time: what is needed beside the groups themselves stays small
BLOCK = 2**22


@dataclass(frozen=True, eq=False)
class Groups:
    """`ids` [n] of any whole-number type, each a place in `names`."""

    ids: np.ndarray
    names: tuple[str, ...]

    def sizes(self, weights: np.ndarray | None = None) -> list[int]:
        """How many rows each group has, or the sum of their `weights` int64 [n]."""
        return counts(self.ids, len(self.names), weights).tolist()

    def members(self) -> Iterator[np.ndarray]:
        """The rows of each group in turn, ascending int64."""
        yield from members(self.ids, len(self.names))

    def take(self, indices: np.ndarray) -> Groups:
        """The groups of the rows `indices`, in that order; all names stay."""
        return Groups(self.ids[indices], self.names)


def counts(ids: np.ndarray, n_groups: int, weights: np.ndarray | None = None) -> np.ndarray:
    """How often `ids` [n] has each number under `n_groups`, or the sum of `weights` int64 [n] there; int64 [k]."""
    total = np.zeros(n_groups, dtype=np.int64)
    # a block at a time: numpy takes all ids to int64
    for start in range(0, len(ids), BLOCK):
        block = slice(start, start + BLOCK)
        if weights is None:
            total += np.bincount(ids[block], minlength=n_groups)
        else:
            np.add.at(total, ids[block], weights[block])
    return total


def members(ids: np.ndarray, n_groups: int) -> Iterator[np.ndarray]:
    """For each number under `n_groups` the places where `ids` [n] has it, ascending int64."""
    orders, ends = [], []
    for start in range(0, len(ids), BLOCK):
        block = ids[start : start + BLOCK]
        orders.append(np.argsort(block, kind="stable").astype(np.uint32))
        ends.append(np.append(0, np.bincount(block, minlength=n_groups).cumsum()))
    for group in range(n_groups):
        parts = [
            order[end[group] : end[group + 1]].astype(np.int64) + number * BLOCK
            for number, (order, end) in enumerate(zip(orders, ends, strict=True))
        ]
        yield np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def smallest_type(largest: int, signed: bool = False) -> np.dtype:
    """The narrowest whole-number type that holds `largest`, and -1 where it is `signed`."""
    return np.min_scalar_type(-largest - 1 if signed else largest)
