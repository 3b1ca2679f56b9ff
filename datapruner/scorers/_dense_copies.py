"""Pairs of copies inside one group of rows, from the cosines of all its pairs; what is made of them: _copies.py.

Each takes at least one row, `unit` float32 [m, d] of length 1 in their order, and gives pairs of their numbers.
"""

from __future__ import annotations

import numpy as np
import torch

from datapruner.scorers._copies import Pairs

# rows of a group: bounds the cosines of all its pairs to 256 MiB
MOST_ROWS = 8192


def closest_pairs(unit: torch.Tensor, gone: np.ndarray) -> Pairs:
    """Each row and the most similar one before it that is not `gone` bool [m], of equals the first."""
    cosines = _cosines(unit)
    cosines[:, torch.from_numpy(gone)] = -torch.inf
    # what is not before it does not count either
    cosines.masked_fill_(torch.ones_like(cosines, dtype=torch.bool).triu_(), -torch.inf)
    similarity, earlier = cosines.max(1)
    has = (similarity > -torch.inf).numpy()
    return Pairs(np.flatnonzero(has), earlier.numpy()[has], similarity.numpy()[has])


def near_pairs(unit: torch.Tensor, threshold: float) -> Pairs:
    """All pairs that are more similar than `threshold`."""
    cosines = _cosines(unit)
    later, earlier = (cosines > float(np.float32(threshold))).tril_(-1).nonzero(as_tuple=True)
    return Pairs(later.numpy(), earlier.numpy(), cosines[later, earlier].numpy())


def tree_pairs(unit: torch.Tensor) -> Pairs:
    """The m - 1 pairs of a maximum spanning tree, by Prim's method in O(m^2); which side is earlier is not said."""
    cosines, m = _cosines(unit).numpy(), len(unit)
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


def _cosines(unit: torch.Tensor) -> torch.Tensor:
    return (unit @ unit.T).clamp_(-1, 1)
