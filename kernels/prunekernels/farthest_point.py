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
from prunekernels._sets import Sets, as_sets, stack
from prunekernels._unit import unit_rows

if TYPE_CHECKING:
    import triton.language as tl

Metric = Literal["cosine", "euclidean"]
Start = int | Literal["isolated"]


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
    points = _prepare(sets, metric)
    if use_triton(points, backend) and sets.fits_a_kernel():
        picks = _picks_triton(sets, points, start)
    else:
        pairs = zip(points, sets.sizes, sets.counts, strict=True)
        rows = [farthest_point_torch(rows[:size], count, start) for rows, size, count in pairs]
        picks = stack(rows, points.device)
    return picks[0] if features.ndim == 2 else picks


def farthest_point_torch(points: torch.Tensor, n: int, start: Start) -> torch.Tensor:
    """Reference: `n` picks among `points` [N, D] by squared Euclidean distance, a running minimum over rows."""
    picks = torch.empty(n, dtype=torch.int64, device=points.device)
    if n == 0:
        return picks
    norms, pairs = points.square().sum(1), None
    if start == "isolated" and len(points) ** 2 <= _sets.MAX_PAIRS:
        # the start needs all pairs, so that the steps may as well read them
        pairs = _pairs(points, norms, points, norms)
        pick = pairs.fill_diagonal_(torch.inf).amin(1).argmax()
    else:
        pick = _isolated(points) if start == "isolated" else torch.tensor(start, device=points.device)
    nearest = torch.full_like(norms, torch.inf)
    for step in range(n):
        picks[step] = pick
        if pairs is None:
            distance = (norms + norms[pick] - 2 * (points @ points[pick])).clamp(min=0)
        else:
            distance = pairs[pick]
        nearest = torch.minimum(nearest, distance)
        nearest[pick] = -torch.inf
        pick = nearest.argmax()
    return picks


def _check(sets: Sets, metric: Metric, start: Start) -> None:
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"want metric cosine or euclidean, got {metric!r}")
    if start == "isolated":
        return
    for image, size in enumerate(sets.sizes):
        if isinstance(start, str) or not 0 <= start < max(size, 1):
            raise ValueError(f'set {image}: want start "isolated" or an index under {size}, got {start!r}')


def _prepare(sets: Sets, metric: Metric) -> torch.Tensor:
    """Points whose squared Euclidean distances order as `metric` does."""
    if metric == "cosine":
        return unit_rows(sets.points)
    # distances do not change with the origin, but rounding does: the centre is the best one
    count = sets.inside.sum(1).clamp(min=1)[:, None, None]
    return (sets.points - sets.points.sum(1, keepdim=True) / count).masked_fill(~sets.inside[..., None], 0)


def _isolated(points: torch.Tensor) -> torch.Tensor:
    """The row whose nearest neighbour is farthest, block by block."""
    norms = points.square().sum(1)
    rows = max(1, _sets.MAX_PAIRS // max(len(points), 1))
    nearest = []
    for first in range(0, len(points), rows):
        block = points[first : first + rows]
        distance = _pairs(block, norms[first : first + rows], points, norms)
        distance.diagonal(offset=first).fill_(torch.inf)
        nearest.append(distance.amin(1))
    return torch.cat(nearest).argmax()


def _pairs(rows: torch.Tensor, row_norms: torch.Tensor, points: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances of `rows` to `points`, with the norms given."""
    # few passes, in place: over all pairs a copy is as dear as a step
    product = torch.addmm if rows.ndim == 2 else torch.baddbmm
    return product(norms[..., None, :], rows, points.mT, alpha=-2).add_(row_norms[..., :, None]).clamp_(min=0)


def _picks_triton(sets: Sets, points: torch.Tensor, start: Start) -> torch.Tensor:
    device, n_columns, n_max = points.device, points.shape[1], max(sets.counts)
    norms = points.square().sum(-1)
    distances = _pairs(points, norms, points, norms)
    sizes, counts = torch.tensor(sets.sizes, device=device), torch.tensor(sets.counts, device=device)
    if start == "isolated":
        distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        nearest = distances.masked_fill(~sets.inside[:, None], torch.inf).amin(-1)
        starts = nearest.masked_fill(~sets.inside, -torch.inf).argmax(-1)
    else:
        starts = torch.full((len(points),), start, device=device)
    picks = torch.full((len(points), n_max), -1, dtype=torch.int64, device=device)
    block = next_power_of_2(n_columns)
    _pick_kernel[(len(points),)](
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
