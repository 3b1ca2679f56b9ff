"""Row identities: 64-bit hashes of strings, and a compact memory of those that were seen.

A row's uid is a column of the input, or "<content hash>-<occurrence>": 16 hex digits of the BLAKE2b hash of its
content (the text's UTF-8, the encoded image), and how many earlier rows have the same hash. Occurrences are counted
by that very hash, so that such uids are unique whatever collides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np


def hash64(strings: Iterable[str]) -> np.ndarray:
    """One uint64 for each string, the same on every machine: the first 8 bytes of BLAKE2b of its UTF-8."""
    return hash64_bytes([item.encode() for item in strings])


def hash64_bytes(contents: Iterable[bytes]) -> np.ndarray:
    """One uint64 for each of `contents`: the first 8 bytes of BLAKE2b."""
    digests = b"".join([hashlib.blake2b(item, digest_size=8).digest() for item in contents])
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def splitmix64(keys: np.ndarray, seed: int) -> np.ndarray:
    """Another uint64 for each of `keys` [N], as if drawn anew for each `seed` (the SplitMix64 finalizer)."""
    offset = (seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64
    mixed = keys.astype(np.uint64) + np.uint64(offset)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


class SeenHashes:
    """Which hashes came before, and how often: 8 bytes a row, 16 for a moment while two runs are merged.

    Sorted runs of growing size, each at least twice the next: a look-up is a few binary searches, and every
    hash is merged O(log n) times.
    """

    def __init__(self) -> None:
        self.runs: list[np.ndarray] = []

    def count_and_add(self, hashes: np.ndarray) -> np.ndarray:
        """How often each of `hashes` uint64 [N] was seen before it, those of this call included; int64 [N]."""
        before = np.zeros(len(hashes), dtype=np.int64)
        for run in self.runs:
            before += np.searchsorted(run, hashes, "right") - np.searchsorted(run, hashes, "left")
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        before[order] += np.arange(len(hashes)) - np.searchsorted(ordered, ordered, "left")
        self._push(ordered)
        return before

    def _push(self, run: np.ndarray) -> None:
        while self.runs and len(self.runs[-1]) < 2 * len(run):
            run = np.concatenate([self.runs.pop(), run])
            run.sort(kind="stable")
        self.runs.append(run)


def content_uids(contents: Sequence[bytes], seen: SeenHashes) -> list[str]:
    """The uids of `contents`, which come after all those that `seen` knows."""
    hashes = hash64_bytes(contents)
    counts = seen.count_and_add(hashes).tolist()
    return [f"{key:016x}-{count}" for key, count in zip(hashes.tolist(), counts, strict=True)]
