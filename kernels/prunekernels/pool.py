"""Fewer vectors for a document in late-interaction retrieval: similar ones become their mean.

Methods, all with max(N // factor, 1) clusters of the N vectors that are not protected:

    hierarchical   Ward linkage on 1 - cos, cluster means scaled to length 1: the default
    pylate         the same clusters, means as they are: the form of pylate's pool_embeddings_hierarchical
    colpali        Ward linkage of the rows of the matrix 1 - cos as points, means scaled to length 1: the form of
                   colpali-engine's HierarchicalTokenPooler; other clusters than the two above
    kmeans         spherical k-means, means scaled to length 1

The cut takes the first N - k merges, hence exactly k clusters also where heights tie; k-means may leave fewer
where there are duplicates. A zero row has cosine 0 to all.

How far the rows of S = X X^T are from each other, which colpali takes as points of N dimensions, is told in D:

    |S_i - S_j|^2 = (x_i - x_j)^T C (x_i - x_j),      C = X^T X

So both forms take products, N^2 D FLOP, 140 million for a page of 1,030 vectors of 128 numbers, where distances
between all rows of S would take 3 N^3 / 2, 1.6 billion. The merges are scipy's nearest-neighbour chain, about 3 N^2
distances read one after the other, on the CPU wherever the vectors are.
"""

from __future__ import annotations

import operator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from prunekernels import _ops
from prunekernels._precision import full_precision
from prunekernels._sums import sum_rows
from prunekernels._unit import check_rows, unit_rows
from prunekernels.kmeans import kmeans

PoolMethod = Literal["hierarchical", "pylate", "colpali", "kmeans"]

# rows whose distances are made at once: half a MiB of float64 for a page of 1,030 vectors, little below the diagonal
HEIGHT = 64


class Pooled(NamedTuple):
    """`vectors` [M, D] in the dtype given, `assignment` int64 [N]: which of them stands for each vector."""

    vectors: torch.Tensor
    assignment: torch.Tensor


def pool(vectors: torch.Tensor, factor: int, method: PoolMethod = "hierarchical", protected: int = 0) -> Pooled:
    """Pool `vectors` [N, D] of one document by `factor`; the first `protected` stay, bit for bit, at the front.

    Pooled vectors stand in the order of their clusters' first members. Raises ValueError for other shapes, a
    factor under 1, and NaN or infinity, with the row named; ImportError where scipy is missing.
    """
    if vectors.ndim != 2:
        raise ValueError(f"want vectors [N, D], got {[*vectors.shape]}")
    if method not in ("hierarchical", "pylate", "colpali", "kmeans"):
        raise ValueError(f"want method hierarchical, pylate, colpali or kmeans, got {method!r}")
    if factor < 1 or protected < 0:
        raise ValueError(f"want factor of at least 1 and protected of at least 0, got {factor} and {protected}")
    if not vectors.is_floating_point():
        raise ValueError(f"want floating-point vectors, got {vectors.dtype}")
    return Pooled(*_pool(vectors.detach(), operator.index(factor), method, operator.index(protected)))


def _empty(vectors: torch.Tensor, factor: int, method: str, protected: int) -> tuple[torch.Tensor, torch.Tensor]:
    fixed = min(protected, len(vectors))
    rest = len(vectors) - fixed
    n_clusters: int | torch.SymInt = min(max(rest // factor, 1), rest)
    if method == "kmeans" and n_clusters < rest:
        # some clusters may stay empty
        n_clusters = torch.library.get_ctx().new_dynamic_size()
    return vectors.new_empty(fixed + n_clusters, vectors.shape[1]), vectors.new_empty(len(vectors), dtype=torch.int64)


@_ops.operator(_empty)
@full_precision
def _pool(vectors: torch.Tensor, factor: int, method: str, protected: int) -> tuple[torch.Tensor, torch.Tensor]:
    check_rows("vectors", vectors)
    fixed, rest = vectors[:protected], vectors[protected:]
    n_clusters = min(max(len(rest) // factor, 1), len(rest))
    if n_clusters == len(rest):
        labels = torch.arange(len(rest), device=vectors.device)
    elif method == "kmeans":
        labels = _in_order(kmeans(rest, n_clusters).assignment)
    else:
        labels = _in_order(_ward(rest, n_clusters, as_points=method == "colpali"))
    n_clusters = int(labels.max()) + 1 if len(labels) else 0
    wide = rest.to(torch.promote_types(rest.dtype, torch.float32))
    counts = sum_rows(torch.ones_like(wide[:, :1]), labels, n_clusters)
    means = sum_rows(wide, labels, n_clusters) / counts
    if method != "pylate":
        means = F.normalize(means, dim=1)
    own = torch.arange(len(fixed), device=vectors.device)
    return torch.cat([fixed, means.to(vectors.dtype)]), torch.cat([own, labels + len(fixed)])


def _ward(vectors: torch.Tensor, n_clusters: int, as_points: bool) -> torch.Tensor:
    """Cluster labels [N] of Ward linkage, cut at exactly `n_clusters`; labels are arbitrary numbers."""
    try:
        from scipy.cluster.hierarchy import linkage
    except ImportError as error:
        raise ImportError('hierarchical pooling needs scipy: pip install "prunekit[data]"') from error
    unit, n = unit_rows(vectors).double().cpu(), len(vectors)
    merges = linkage(_condensed(unit, as_points), method="ward")
    # row m of the merges joins two clusters into number N + m
    parent = list(range(2 * n))
    for number, (left, right) in enumerate(merges[: n - n_clusters, :2].astype(int).tolist(), n):
        parent[left] = parent[right] = number
    # a child's number is below its parent's
    for cluster in reversed(range(2 * n)):
        parent[cluster] = parent[parent[cluster]]
    return torch.tensor(parent[:n], dtype=torch.int64, device=vectors.device)


def _condensed(unit: torch.Tensor, as_points: bool) -> npt.NDArray[np.float64]:
    """Distances of all pairs of `unit` [N, D] as scipy lists them, row after row above the diagonal."""
    n, ones = len(unit), torch.ones_like(unit[:, :1])
    # what is added to a dot product is one more column of both: no pass of its own
    left, right = torch.cat([-unit, ones], 1), torch.cat([unit, ones], 1)
    if as_points:
        turned = unit @ (unit.T @ unit)
        norms = torch.linalg.vecdot(turned, unit)[:, None]
        left, right = torch.cat([-2 * turned, norms, ones], 1), torch.cat([unit, ones, norms], 1)
    distances, end = np.empty(n * (n - 1) // 2), 0
    for first in range(0, n, HEIGHT):
        block = (left[first : first + HEIGHT] @ right[first:].T).numpy()
        for row in range(len(block)):
            start, end = end, end + n - first - row - 1
            distances[start:end] = block[row, row + 1 :]
    np.maximum(distances, 0, out=distances)
    return np.sqrt(distances, out=distances) if as_points else distances


def _in_order(labels: torch.Tensor) -> torch.Tensor:
    """Renumber `labels` from 0 in the order of their first appearance."""
    _, inverse = labels.unique(return_inverse=True)
    places = torch.arange(len(labels), device=labels.device)
    first = places.new_full((int(inverse.max()) + 1,), len(labels)).scatter_reduce(0, inverse, places, "amin")
    return first.argsort().argsort()[inverse]
