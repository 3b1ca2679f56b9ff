"""Pairs of copies inside one group of rows, from the cosines of all its pairs; what is made of them: _copies.py.

Each takes at least one row, `unit` float32 [m, d] of length 1 in their order, and gives pairs of their numbers. Rows
are compared with those before them, a tile of rows at a time; rows of zeros fill tiles up, so that a cosine hangs on
its two rows and not on where they stand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from datapruner.scorers._copies import Pairs

# rows of a group: bounds the cosines of all its pairs to 256 MiB
MOST_ROWS = 8192
TILE, MULTIPLE = 256, 64


class Copies(NamedTuple):
    """`near`: all pairs more similar than a threshold. `closest`: each row with the most similar one before it, of
    equals the first."""

    near: Pairs
    closest: Pairs


def copies_of(unit: torch.Tensor, threshold: float) -> Copies:
    """What is near each row and before it; a `threshold` of 1 or more: nothing is near."""
    near, closest = [], []
    filled = _filled(unit)
    for start in range(0, len(unit), TILE):
        cosines = filled[start : start + TILE] @ filled[: start + TILE].T
        own = cosines[:, start:]
        # what is not before it does not count
        own.masked_fill_(torch.ones_like(own, dtype=torch.bool).triu_(), -torch.inf)
        found = cosines[: len(unit) - start].numpy()
        best, where = _largest(found)
        closest.append(Pairs(np.arange(start, start + len(found)), where, best))
        later = np.flatnonzero(best > np.float32(threshold))
        row, earlier = np.nonzero(found[later] > np.float32(threshold))
        near.append(Pairs(later[row] + start, earlier, np.minimum(found[later[row], earlier], 1)))
    # the first has none before it
    return Copies(_joined(near), Pairs(*(side[1:] for side in _joined(closest))))


def closest_among(unit: torch.Tensor, rows: np.ndarray, others: np.ndarray) -> Pairs:
    """Each of `rows` int64 [r] and the most similar of `others` int64 [o], ascending, that is before it."""
    found, filled = [], _filled(unit[torch.from_numpy(others)])
    # one without any before it is left out
    rows = rows[np.searchsorted(others, rows) > 0]
    for start in range(0, len(rows), TILE):
        some = rows[start : start + TILE]
        first, last = np.searchsorted(others, some[[0, -1]])
        width = last + -last % MULTIPLE
        cosines = (_filled(unit[torch.from_numpy(some)]) @ filled[:width].T)[: len(some), :last]
        cosines[:, first:].masked_fill_(torch.from_numpy(others[first:last] >= some[:, None]), -torch.inf)
        best, where = _largest(cosines.numpy())
        found.append(Pairs(some, others[where], best))
    return _joined(found)


def tree_pairs(unit: torch.Tensor) -> Pairs:
    """The m - 1 pairs of a maximum spanning tree, by Prim's method in O(m^2); which side is earlier is not said."""
    m = len(unit)
    filled = _filled(unit)
    cosines = (filled @ filled.T)[:m, :m].clamp_(-1, 1).numpy()
    reached, source = np.zeros(m, dtype=bool), np.zeros(m, np.int64)
    best = np.full(m, -np.inf, np.float32)
    found = np.zeros((max(0, m - 1), 2), np.int64)
    row = 0
    for step in range(m - 1):
        reached[row] = True
        better = (cosines[row] > best) & ~reached
        best[better], source[better] = cosines[row][better], row
        best[row] = -np.inf
        row = int(best.argmax())
        found[step] = row, source[row]
    return Pairs(found[:, 0], found[:, 1], cosines[found[:, 0], found[:, 1]])


def _largest(cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each row, at most 1, and where it stands first; -inf stays."""
    places = np.arange(len(cosines))
    where = cosines.argmax(1)
    best = cosines[places, where]
    if (best > 1).any():
        # rounding: what is above 1 is equal
        np.minimum(cosines, 1, out=cosines)
        where = cosines.argmax(1)
        best = cosines[places, where]
    return np.where(best > -np.inf, np.maximum(best, -1), best), where


def _filled(unit: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(unit, (0, 0, 0, -len(unit) % MULTIPLE))


def _joined(parts: list[Pairs]) -> Pairs:
    empty = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    return Pairs(*(np.concatenate(side) for side in zip(*[empty, *parts], strict=True)))
