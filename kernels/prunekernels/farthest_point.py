"""Farthest-point traversal (Gonzalez 1985): the greedy 2-approximation of k-center and of max-min diversity.

    pick_1 = start,   pick_t = argmax_j  min_{i < t} distance(pick_i, j)

DivPrune (CVPR 2025, arXiv:2503.02175) takes it over visual tokens, k-center coresets over embeddings. Earlier
picks stand farther apart, and the first m of n picks are the picks for m. The minimum is kept from step to step,
so that n picks of N rows cost O(n N) after the distances; the published loops take it afresh: O(n^2 N).

The distances are float32 whatever the input: in bfloat16 cosines of neighbours tie. A picked row leaves the
race, so that exact duplicates are picked last and never twice. Ties go to the lower index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from prunekernels import _sets
from prunekernels._backend import Backend, jit, next_power_of_2, use_triton
from prunekernels._gram import plain_gram, unit_gram
from prunekernels._sets import Sets, as_sets, stack
from prunekernels._unit import unit_rows

if TYPE_CHECKING:
    import triton.language as tl

Metric = Literal["cosine", "euclidean"]
Start = int | Literal["isolated"]

# rows that are compared with all others at once, and sets so small that all pairs cost less than rounds
CHUNK, SMALL = 64, 1024


def farthest_point(
    features: torch.Tensor,
    n: int | Sequence[int],
    metric: Metric = "cosine",
    start: Start = "isolated",
    sizes: Sequence[int] | None = None,
    *,
    backend: Backend = "auto",
) -> torch.Tensor:
    """Pick `n` rows of `features` [N, D], far from each other; returns int64 [n], in the order of picking.

    `start` is an index or "isolated", the row whose nearest neighbour is farthest. Features [B, N, D] are B sets
    of the first `sizes` [B] rows each (default: all N) with one `n` for all or a sequence [B]; the picks are then
    int64 [B, max n], filled up with -1. Raises ValueError for other shapes, a count that is not in [0, N], and for
    NaN or infinity, with the row named.
    """
    sets = as_sets(features, n, sizes)
    _check(sets, metric, start)
    triton = use_triton(features, backend) and sets.fits_a_kernel()
    if triton or sets.rows.shape[1] <= SMALL:
        distances = _distances(sets, metric)
        starts = _starts(distances, sets, start)
        picks = (_walk_triton if triton else _walk)(distances, starts, sets)
    else:
        points = unit_rows(sets.rows) if metric == "cosine" else _centred(sets)
        each = zip(points, sets.sizes, sets.counts, strict=True)
        picks = stack([_rounds(rows[:size], count, start) for rows, size, count in each], features.device)
    return picks[0] if features.ndim == 2 else picks


def _walk(distances: torch.Tensor, starts: torch.Tensor, sets: Sets) -> torch.Tensor:
    """Reference: the formula as printed, for all sets at once, with the minimum kept from step to step."""
    picks = torch.full((len(starts), max(sets.counts, default=0)), -1, device=starts.device)
    nearest = torch.full(distances.shape[:2], torch.inf, device=starts.device).masked_fill(~sets.inside, -torch.inf)
    image, pick, counts = torch.arange(len(starts)), starts, torch.tensor(sets.counts, device=starts.device)
    for step in range(picks.shape[1]):
        picks[:, step] = pick.masked_fill(step >= counts, -1)
        torch.minimum(nearest, distances[image, pick], out=nearest)
        nearest[image, pick] = -torch.inf
        pick = nearest.argmax(1)
    return picks


def _rounds(points: torch.Tensor, n: int, start: Start) -> torch.Tensor:
    """`n` picks among many `points` [N, D] by squared Euclidean distance, without all pairs; those of `_walk`.

    A row's distance to the nearest pick only falls, so that what is known of it is an upper bound. In each round
    all rows learn the new picks in one product; then the rows on top, among themselves, are picked for as long as
    they stand above the bound of all others.
    """
    picks = torch.empty(n, dtype=torch.int64, device=points.device)
    if n == 0:
        return picks
    norms = (points[:, None] @ points[..., None]).flatten()
    nearest = torch.full_like(norms, torch.inf)
    picks[0], known, count = _isolated(points, norms) if start == "isolated" else start, 0, 1
    while count < n:
        nearest = torch.minimum(nearest, _nearest_of(points, norms, picks[known:count]))
        nearest[picks[known:count]], known = -torch.inf, count
        front, limit, next_row = _front(nearest, max(CHUNK, min(16 * CHUNK, n)))
        bound, pairs = nearest[front], _squared(plain_gram(points[front][None]))[0]
        at = int(bound.argmax())
        while count < n:
            picks[count], count = front[at], count + 1
            torch.minimum(bound, pairs[at], out=bound)
            bound[at] = -torch.inf
            at = int(bound.argmax())
            # a row outside wins where its bound is larger, or is as large and its index lower
            if (-float(bound[at]), int(front[at])) > (-limit, next_row):
                break
    return picks


def _front(nearest: torch.Tensor, size: int) -> tuple[torch.Tensor, float, int]:
    """The `size` rows with the largest values, ascending; the largest value of the others, and the first with it."""
    order = nearest.argsort(descending=True, stable=True)
    front = order[:size].sort().values
    if len(order) <= size:
        return front, -torch.inf, len(order)
    return front, float(nearest[order[size]]), int(order[size])


def _nearest_of(points: torch.Tensor, norms: torch.Tensor, picks: torch.Tensor) -> torch.Tensor:
    """The squared distance of each row to the nearest of `picks`."""
    blocks = picks.split(max(1, _sets.MAX_PAIRS // len(points)))
    # a tall product is faster than a wide one
    each = [_pairs(points, norms, points[block], norms[block]).amin(1) for block in blocks]
    return torch.stack(each).amin(0)


def _isolated(points: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """The row whose nearest neighbour is farthest; rows that a chunk of others rules out are never looked at."""
    bound = torch.full_like(norms, torch.inf)
    nearest = torch.full_like(norms, -torch.inf)
    size = max(1, min(CHUNK, _sets.MAX_PAIRS // len(points)))
    while True:
        # equal rows stay in the race, for the lower index to win
        open_bound = bound.masked_fill(nearest > -torch.inf, -torch.inf)
        rows = open_bound.topk(min(size, len(points))).indices
        rows = rows[(open_bound[rows] >= nearest.max()) & (nearest[rows] == -torch.inf)]
        if not len(rows):
            return nearest.argmax()
        distance = _pairs(points, norms, points[rows], norms[rows])
        distance[rows, torch.arange(len(rows), device=rows.device)] = torch.inf
        nearest[rows] = distance.amin(0)
        bound = torch.minimum(bound, distance.amin(1))


def _check(sets: Sets, metric: Metric, start: Start) -> None:
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"want metric cosine or euclidean, got {metric!r}")
    if start == "isolated":
        return
    for image, size in enumerate(sets.sizes):
        if isinstance(start, str) or not 0 <= start < max(size, 1):
            raise ValueError(f'set {image}: want start "isolated" or an index under {size}, got {start!r}')


def _centred(sets: Sets) -> torch.Tensor:
    """Distances do not change with the origin, but rounding does: the centre is the best one."""
    points, count = sets.rows.float(), sets.inside.sum(1).clamp(min=1)[:, None, None]
    return (points - points.sum(1, keepdim=True) / count).masked_fill(~sets.inside[..., None], 0)


def _distances(sets: Sets, metric: Metric) -> torch.Tensor:
    """Squared Euclidean distances [B, N, N] that order as `metric` does."""
    return _squared(unit_gram(sets.rows) if metric == "cosine" else plain_gram(_centred(sets)))


def _squared(gram: torch.Tensor) -> torch.Tensor:
    """Squared distances from dot products, in their place."""
    norms = gram.diagonal(dim1=1, dim2=2).clone()
    return gram.mul_(-2).add_(norms[:, None]).add_(norms[..., None]).clamp_(min=0)


def _starts(distances: torch.Tensor, sets: Sets, start: Start) -> torch.Tensor:
    """The first pick of each set, int64 [B]."""
    if start != "isolated" or not distances.numel():
        return torch.full((len(distances),), 0 if start == "isolated" else start, device=distances.device)
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    nearest = distances.masked_fill(~sets.inside[:, None], torch.inf).amin(-1)
    return nearest.masked_fill(~sets.inside, -torch.inf).argmax(-1)


def _pairs(rows: torch.Tensor, row_norms: torch.Tensor, points: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances of `rows` to `points`, with the norms given."""
    # few passes, in place: over all pairs a copy is as dear as a step
    return torch.addmm(norms, rows, points.mT, alpha=-2).add_(row_norms[:, None]).clamp_(min=0)


def _walk_triton(distances: torch.Tensor, starts: torch.Tensor, sets: Sets) -> torch.Tensor:
    device, n_columns, n_max = distances.device, distances.shape[1], max(sets.counts)
    sizes, counts = torch.tensor(sets.sizes, device=device), torch.tensor(sets.counts, device=device)
    picks = torch.full((len(distances), n_max), -1, dtype=torch.int64, device=device)
    block = next_power_of_2(n_columns)
    _pick_kernel[(len(distances),)](
        distances, sizes, counts, starts, picks, n_columns, n_max,
        BLOCK=block, num_warps=4 if block <= 1024 else 8 if block <= 4096 else 16,
    )  # fmt: skip
    return picks


@jit
def _pick_kernel(  # type: ignore[no-untyped-def]
    distances, sizes, counts, starts, picks, n_columns, n_max, BLOCK: tl.constexpr
):  # fmt: skip
    """All picks of one set in one program: a row of distances a step, the running minimum in registers."""
    image = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < tl.load(sizes + image)
    nearest = tl.where(inside, float("inf"), float("-inf"))
    pick = tl.load(starts + image)
    for step in range(0, tl.load(counts + image)):
        tl.store(picks + image * n_max + step, pick)
        row = distances + (image * n_columns + pick) * n_columns
        nearest = tl.minimum(nearest, tl.load(row + columns, mask=inside, other=float("-inf")))
        nearest = tl.where(columns == pick, float("-inf"), nearest)
        pick = tl.argmax(nearest, axis=0).to(tl.int64)
