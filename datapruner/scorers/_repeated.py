"""Hashes that come more than once in a corpus."""

from __future__ import annotations

import numpy as np

# hashes that wait until they are merged into the counted ones
MOST_WAITING = 1 << 24


class Repeated:
    """Counts hashes uint64; 16 bytes for each different one, 8 for each that waits."""

    def __init__(self) -> None:
        self._hashes, self._counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        self._waiting: list[np.ndarray] = []

    def add(self, hashes: np.ndarray) -> None:
        """Count each of `hashes` [n] once more."""
        self._waiting.append(hashes)
        if sum(map(len, self._waiting)) > MOST_WAITING:
            self._merge()

    def at_least(self, least: int) -> np.ndarray:
        """The hashes that came `least` times, ascending uint64."""
        self._merge()
        return self._hashes[self._counts >= least]

    def _merge(self) -> None:
        if not self._waiting:
            return
        found, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        every = np.concatenate([self._hashes, found])
        self._hashes, inverse = np.unique(every, return_inverse=True)
        total = np.zeros(len(self._hashes), np.int64)
        np.add.at(total, inverse, np.concatenate([self._counts, counts]))
        self._counts, self._waiting = total, []


def contains(known: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Which of `hashes` [n] are in `known`, which is ascending; bool [n]."""
    if not len(known):
        return np.zeros(len(hashes), dtype=bool)
    return known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes
