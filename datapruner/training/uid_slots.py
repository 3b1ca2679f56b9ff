"""A place for each uid, in the order in which they were first seen: 16 bytes a row.

Uids are known by their 64-bit hashes, as everywhere in datapruner: of 10^7 rows two share one with a chance of 3 in
10^6. Hashes lie in sorted runs, each at least twice the next, as in `corpus.uids.SeenHashes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datapruner.corpus.uids import hash64


def uid_keys(uids: Sequence[str | int]) -> np.ndarray:
    """The keys of `uids` as int64 [n]: a column for a data set whose rows are recorded, which tensors can hold.

    Whole numbers are named by their digits, as a source does whose uid field holds numbers.
    """
    return hash64([uid if isinstance(uid, str) else str(int(uid)) for uid in uids]).view(np.int64)


class UidSlots:
    """Slots 0, 1, 2, ... for keys uint64."""

    def __init__(self) -> None:
        self.count = 0
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The slot of each of `keys` [n], int64; -1 where it has none."""
        found = np.full(len(keys), -1, dtype=np.int64)
        for known, slots in self._runs:
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            found = np.where(known[at] == keys, slots[at], found)
        return found

    def find_or_add(self, keys: np.ndarray) -> np.ndarray:
        """As `find` for `keys` without repeats; new ones get the next slots, in their order."""
        found = self.find(keys)
        new = np.flatnonzero(found < 0)
        if len(new):
            found[new] = np.arange(self.count, self.count + len(new))
            self.count += len(new)
            self._push(keys[new], found[new])
        return found

    def ordered_keys(self) -> np.ndarray:
        """The key of every slot, uint64 [count]."""
        ordered = np.zeros(self.count, dtype=np.uint64)
        for keys, slots in self._runs:
            ordered[slots] = keys
        return ordered

    def _push(self, keys: np.ndarray, slots: np.ndarray) -> None:
        while self._runs and len(self._runs[-1][0]) < 2 * len(keys):
            last_keys, last_slots = self._runs.pop()
            keys, slots = np.concatenate([last_keys, keys]), np.concatenate([last_slots, slots])
        order = np.argsort(keys, kind="stable")
        self._runs.append((keys[order], slots[order]))
