"""k-means (Lloyd 1982), and spherical k-means: rows and centroids of length 1, compared by cosine.

    a_i = argmax_c similarity(x_i, c)      c_k = mean of the x_i with a_i = k   (spherical: scaled to length 1)
    similarity = cosine (spherical), or minus the squared Euclidean distance: higher means closer in both

faiss trains where it is installed and the features are on a CPU; torch elsewhere. Both start from k random rows,
on all rows: faiss by itself would train on 256 k of them. No kernel: an iteration is one product of 2 N k D FLOP,
a block at a time, and one sum of rows.
"""

from __future__ import annotations

import importlib.util
import operator
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F

from prunekernels import _ops
from prunekernels._precision import full_precision
from prunekernels._sums import sum_rows
from prunekernels._unit import check_rows, unit_rows

KMeansBackend = Literal["auto", "faiss", "torch"]

# similarities held at a time (16 MiB)
MAX_PAIRS = 2048**2


class KMeans(NamedTuple):
    """`centroids` float32 [k, D], `assignment` int64 [N], and each row's `similarity` float32 [N] to its own one."""

    centroids: torch.Tensor
    assignment: torch.Tensor
    similarity: torch.Tensor


def kmeans(
    features: torch.Tensor,
    k: int,
    spherical: bool = True,
    iterations: int = 20,
    seed: int = 0,
    *,
    backend: KMeansBackend = "auto",
) -> KMeans:
    """Cluster `features` [N, D] into `k` groups; the same for the same seed, backend and machine.

    Each row is assigned to the nearest of the returned centroids, the lower one in a tie. A cluster that runs
    empty starts again at another row; one stays empty only where k distinct rows are missing or iterations ran
    out. Raises ValueError for other shapes, k outside [1, N], and NaN or infinity, with the row named.
    """
    k, iterations, seed = operator.index(k), operator.index(iterations), operator.index(seed)
    _check(features, k, iterations)
    use_faiss = _use_faiss(features, backend)
    return KMeans(*_kmeans(features.detach(), k, spherical, iterations, seed, use_faiss))


def _empty(
    features: torch.Tensor, k: int, spherical: bool, iterations: int, seed: int, use_faiss: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    n, width = features.shape
    wide = torch.float32
    return (
        features.new_empty(k, width, dtype=wide),
        features.new_empty(n, dtype=torch.int64),
        features.new_empty(n, dtype=wide),
    )


@_ops.operator(_empty)
@full_precision
def _kmeans(
    features: torch.Tensor, k: int, spherical: bool, iterations: int, seed: int, use_faiss: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    check_rows("features", features)
    if spherical:
        points, centre = unit_rows(features), torch.zeros((), dtype=torch.float32, device=features.device)
    else:
        # distances do not change with the origin, but rounding does: the centre is the best one
        centre = features.mean(0, dtype=torch.promote_types(features.dtype, torch.float32))
        points, centre = (features - centre).float(), centre.float()
    run = kmeans_faiss if use_faiss else kmeans_torch
    centroids = run(points, k, spherical, iterations, seed)
    assignment, _ = _assign(points, centroids, spherical)
    similarity = torch.cat(
        [
            _similarity(points[rows], centroids[assignment[rows]], spherical)
            for rows in torch.arange(len(points), device=points.device).split(_height(points.shape[1]))
        ]
    )
    return centroids + centre, assignment, similarity


def kmeans_torch(points: torch.Tensor, k: int, spherical: bool, iterations: int, seed: int) -> torch.Tensor:
    """Reference: centroids [k, D] after `iterations` or once no row changes its cluster."""
    # drawn on the CPU, so that every device starts from the same rows
    generator = torch.Generator("cpu").manual_seed(seed)
    start = torch.randperm(len(points), generator=generator, dtype=torch.int64, device="cpu")[:k]
    if points.is_cuda:
        start = start.pin_memory().to(points.device, non_blocking=True)
    centroids = points[start]
    assignment, similarity = _assign(points, centroids, spherical)
    for _ in range(iterations):
        centroids = _update(points, assignment, similarity, k, spherical)
        before = assignment
        assignment, similarity = _assign(points, centroids, spherical)
        # a GPU would be waited for: there all iterations run, and change nothing any more
        if not points.is_cuda and torch.equal(assignment, before):
            break
    return centroids


def kmeans_faiss(points: torch.Tensor, k: int, spherical: bool, iterations: int, seed: int) -> torch.Tensor:
    """The same by faiss, on all rows and without its warning about few of them."""
    import faiss

    model = faiss.Kmeans(
        points.shape[1], k, niter=iterations, spherical=spherical, seed=seed % 2**31,
        min_points_per_centroid=1, max_points_per_centroid=len(points),
    )  # fmt: skip
    model.train(points.contiguous().numpy())
    return torch.from_numpy(model.centroids).clone()


def _update(
    points: torch.Tensor, assignment: torch.Tensor, similarity: torch.Tensor, k: int, spherical: bool
) -> torch.Tensor:
    """Means of the clusters; an empty one moves to a row that fits its own cluster worst."""
    counts = sum_rows(torch.ones_like(points[:, :1]), assignment, k)
    centroids = sum_rows(points, assignment, k) / counts
    is_empty = counts == 0
    if points.is_cuda or is_empty.any():
        # the first empty one takes the worst row, the second the next
        turn = (is_empty[:, 0].cumsum(0) - 1).clamp(min=0)
        centroids = torch.where(is_empty, points[similarity.sort(stable=True).indices[turn]], centroids)
    return F.normalize(centroids, dim=1) if spherical else centroids


def _assign(points: torch.Tensor, centroids: torch.Tensor, spherical: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest centroid of each row and, up to rounding, the similarity to it."""
    half_norms = torch.zeros_like(centroids[:, 0]) if spherical else centroids.square().sum(1) / 2
    assignment, similarity = [], []
    for block in points.split(_height(len(centroids))):
        # x . c - |c|^2 / 2 orders centroids as minus the squared distance does
        scores = torch.addmm(-half_norms, block, centroids.T)
        nearest = scores.argmax(1)
        own = scores.gather(1, nearest[:, None])[:, 0]
        assignment.append(nearest)
        similarity.append(own if spherical else 2 * own - block.square().sum(1))
    return torch.cat(assignment), torch.cat(similarity)


def _similarity(points: torch.Tensor, own: torch.Tensor, spherical: bool) -> torch.Tensor:
    """Of each row to its own centroid, without cancellation."""
    return torch.linalg.vecdot(points, own).clamp(-1, 1) if spherical else -(points - own).square().sum(1)


def _height(width: int) -> int:
    return max(1, MAX_PAIRS // width)


def _use_faiss(features: torch.Tensor, backend: KMeansBackend) -> bool:
    if backend not in ("auto", "faiss", "torch"):
        raise ValueError(f"want backend auto, faiss or torch, got {backend!r}")
    has_faiss = importlib.util.find_spec("faiss") is not None
    if backend == "auto":
        return has_faiss and features.device.type == "cpu"
    if backend == "faiss" and not has_faiss:
        raise ImportError('backend="faiss" needs faiss: pip install "prunekit[data]"')
    if backend == "faiss" and features.device.type != "cpu":
        raise ValueError(f'backend="faiss" wants a CPU tensor, got one on {features.device}')
    return backend == "faiss"


def _check(features: torch.Tensor, k: int, iterations: int) -> None:
    if features.ndim != 2 or not features.shape[1] or not features.is_floating_point():
        raise ValueError(
            f"want floating-point features [N, D] with D of at least 1, got {[*features.shape]} {features.dtype}"
        )
    if not 1 <= k <= len(features):
        raise ValueError(f"want k between 1 and {len(features)} rows, got {k}")
    if iterations < 1:
        raise ValueError(f"want at least 1 iteration, got {iterations}")
