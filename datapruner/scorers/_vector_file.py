"""The vectors of a corpus in a temporary file, and their clusters: what is compared with what.

Rows have length 1; a row of zeros stays, and has cosine 0 to all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from datapruner.corpus.uids import hash64, hash64_bytes
from datapruner.scorers._copy_state import packed
from prunekernels._unit import unit_rows
from prunekernels.kmeans import kmeans

# rows that are read or compared with all centroids at a time
BLOCK = 1 << 14


class VectorFile:
    """Rows that are added block by block; the file goes with the object."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the object
        self._keys: list[np.ndarray] = []
        self._contents: list[np.ndarray] = []
        self.uids: list[dict[str, np.ndarray]] = []
        self.width: int | None = None

    def __len__(self) -> int:
        return sum(map(len, self._keys))

    def add(self, uids: Sequence[str], vectors: np.ndarray, name: str) -> None:
        """`vectors` [n, d] of the rows `uids`; raises ValueError naming `name` where d is not that of the others."""
        if self.width not in (None, vectors.shape[1]):
            raise ValueError(f"{name}: want vectors of {self.width} numbers, got {vectors.shape[1]}")
        self.width = vectors.shape[1]
        # a negative zero is a zero
        unit = unit_rows(torch.tensor(vectors)).numpy() + 0.0
        self._file.write(unit.tobytes())
        self._keys.append(hash64(uids))
        self._contents.append(np.where(unit.any(1), hash64_bytes([row.tobytes() for row in unit]), self._keys[-1]))
        self.uids.append(packed(uids))

    def rows(self) -> np.ndarray:
        """All of them, float32 [n, d]: views of the file."""
        self._file.flush()
        shape = (len(self), self.width or 0)
        return np.memmap(self._file, np.float32, "r", shape=shape) if all(shape) else np.zeros(shape, np.float32)

    def keys(self) -> np.ndarray:
        """A hash of each uid, uint64 [n]."""
        return np.concatenate([np.zeros(0, np.uint64), *self._keys])

    def contents(self) -> np.ndarray:
        """A hash of each row, uint64 [n], equal for equal ones; of a row of zeros, of its uid."""
        return np.concatenate([np.zeros(0, np.uint64), *self._contents])


def centroids_of(rows: np.ndarray, k: int, iterations: int, seed: int) -> np.ndarray:
    """Centroids of spherical k-means on all of `rows`; float32 [k or fewer, d]."""
    if not len(rows):
        return np.zeros((0, rows.shape[1]), np.float32)
    return kmeans(torch.from_numpy(rows), min(k, len(rows)), True, iterations, seed).centroids.numpy()


def assigned(rows: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid of each row, int64 [n], and the cosine to it: equal rows have equal ones, float64 [n]."""
    clusters, cosines = np.zeros(len(rows), np.int64), np.zeros(len(rows))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        nearest = (torch.tensor(block) @ torch.from_numpy(centroids).T).argmax(1).numpy()
        clusters[start : start + BLOCK] = nearest
        cosines[start : start + BLOCK] = np.einsum("nd,nd->n", block, centroids[nearest], dtype=np.float64)
    return clusters, cosines


def groups(members: np.ndarray, clusters: np.ndarray, rows: np.ndarray, most: int, seed: int) -> Iterator[np.ndarray]:
    """Those of the rows `members` that are of one cluster; `clusters` int64 [n] are those of all rows.

    A cluster with more than `most` is clustered again, into pieces of about half as many.
    """
    order = np.argsort(clusters[members], kind="stable")
    ends = np.flatnonzero(np.diff(clusters[members[order]])) + 1
    for some in np.split(members[order], ends):
        yield from _pieces(some, rows, most, seed)


def _pieces(members: np.ndarray, rows: np.ndarray, most: int, seed: int) -> Iterator[np.ndarray]:
    if len(members) <= most:
        yield members
        return
    own = rows[members]
    pieces = kmeans(torch.from_numpy(own), -(-2 * len(own) // most), True, 10, seed).assignment.numpy()
    if np.bincount(pieces).max() == len(members):
        # nothing sets them apart: they are cut as they stand
        yield from np.array_split(members, -(-len(members) // most))
        return
    for piece in np.unique(pieces).tolist():
        yield from _pieces(members[pieces == piece], rows, most, seed)
