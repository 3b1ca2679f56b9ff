"""The vectors of a corpus in a temporary file, and their clusters: what is compared with what.

Rows have length 1; a row of zeros stays, and has cosine 0 to all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from datapruner.corpus.uids import hash64_bytes
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

    def add(self, uids: Sequence[str], keys: np.ndarray, vectors: np.ndarray, name: str) -> None:
        """`vectors` [n, d] of the rows `uids`, whose hashes are `keys` uint64 [n].

        Raises ValueError naming `name` where d is not that of the others.
        """
        if self.width not in (None, vectors.shape[1]):
            raise ValueError(f"{name}: want vectors of {self.width} numbers, got {vectors.shape[1]}")
        self.width = vectors.shape[1]
        # a negative zero is a zero
        unit = unit_rows(torch.tensor(vectors)).numpy() + 0.0
        self._file.write(unit.tobytes())
        self._keys.append(keys)
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


class Clusters(NamedTuple):
    """`centroids` float32 [k or fewer, d] of spherical k-means, and the cluster of each row, int64 [n]."""

    centroids: np.ndarray
    of: np.ndarray


def clustered(rows: np.ndarray, drawn: np.ndarray, k: int, iterations: int, seed: int) -> Clusters:
    """Clusters of all `rows`, whose centroids are trained on those with the numbers `drawn` int64 [m]."""
    if not len(rows):
        return Clusters(np.zeros((0, rows.shape[1]), np.float32), np.zeros(0, np.int64))
    found = kmeans(torch.from_numpy(rows[drawn]), min(k, len(drawn)), True, iterations, seed)
    centroids, of = found.centroids, np.empty(len(rows), np.int64)
    of[drawn] = found.assignment.numpy()
    if len(drawn) < len(rows):
        for start in range(0, len(rows), BLOCK):
            block = torch.tensor(rows[start : start + BLOCK])
            of[start : start + BLOCK] = (block @ centroids.T).numpy().argmax(1)
    return Clusters(centroids.numpy(), of)


def cosines_to_centroids(rows: np.ndarray, clusters: Clusters) -> np.ndarray:
    """The cosine of each row to the centroid of its cluster, float64 [n]: equal rows have equal ones."""
    cosines = np.zeros(len(rows))
    for start in range(0, len(rows), BLOCK):
        own = clusters.centroids[clusters.of[start : start + BLOCK]]
        cosines[start : start + BLOCK] = np.einsum("nd,nd->n", rows[start : start + BLOCK], own, dtype=np.float64)
    return cosines


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
