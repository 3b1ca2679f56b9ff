"""Farthest-point traversal (Gonzalez 1985): the greedy 2-approximation of k-center and of max-min diversity.

    pick_1 = start,   pick_t = argmax_j  min_{i < t} distance(pick_i, j)

DivPrune (CVPR 2025, arXiv:2503.02175) takes it over visual tokens, k-center coresets over embeddings. Earlier
picks stand farther apart, and the first m of n picks are the picks for m. The minimum is kept from step to step,
so that n picks of N rows cost O(n N) after the distances; the published loops take it afresh: O(n^2 N).

The distances are float32 whatever the input: in bfloat16 cosines of neighbours tie. A picked row leaves the
race, so that exact duplicates are picked last and never twice. Ties go to the lower index.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch

from prunekernels import _ops
from prunekernels._backend import Backend, jit, next_power_of_2, use_triton
from prunekernels._farthest_rounds import rounds, steps
from prunekernels._gram import gram, gram_triton, plain_gram_triton, unit_gram
from prunekernels._precision import full_precision
from prunekernels._sets import Sets, as_sets, check_sets, empty_picks, keeps_pairs, on_device, stack
from prunekernels._unit import unit_rows

if TYPE_CHECKING:
    import triton.language as tl

Metric = Literal["cosine", "euclidean"]
Start = int | Literal["isolated"]

# sets so small that on a CPU all pairs cost less than rounds, and the most rows whose minima a kernel's registers hold
SMALL, LARGE = 1024, 16_384

# in place of an index: the row whose nearest neighbour is farthest
ISOLATED = -1


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
    NaN or infinity, with the row named (on a GPU later: `_finite`).
    """
    sets = as_sets(features, n, sizes)
    first = _checked_start(sets, metric, start)
    picks = _farthest_point(sets.rows, sets.counts, sets.sizes, metric, first, backend)
    return picks[0] if features.ndim == 2 else picks


def _checked_start(sets: Sets, metric: Metric, start: Start) -> int:
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"want metric cosine or euclidean, got {metric!r}")
    if isinstance(start, str):
        if start != "isolated":
            raise ValueError(f'want start "isolated" or an index, got {start!r}')
        return ISOLATED
    for image, size in enumerate(sets.sizes):
        if not 0 <= start < max(size, 1):
            raise ValueError(f'set {image}: want start "isolated" or an index under {size}, got {start!r}')
    return operator.index(start)


def _empty(
    rows: torch.Tensor, counts: list[int], sizes: list[int], metric: str, start: int, backend: str
) -> torch.Tensor:
    return empty_picks(rows, counts)


@_ops.operator(_empty)
@full_precision
def _farthest_point(
    rows: torch.Tensor, counts: list[int], sizes: list[int], metric: str, start: int, backend: str
) -> torch.Tensor:
    check_sets("features", rows, sizes)
    if use_triton(rows, cast(Backend, backend)) and keeps_pairs(rows, LARGE) and max(counts, default=0):
        return _picks_triton(rows, counts, sizes, metric, start)
    # each set in memory of its own: what the others hold changes nothing
    each = zip(rows, counts, sizes, strict=True)
    return stack([_of_set(own[:size], count, metric, start) for own, count, size in each], rows.device)


def _of_set(rows: torch.Tensor, n: int, metric: str, start: int) -> torch.Tensor:
    """The picks of one set of `rows` [N, D] by plain torch."""
    if n == 0:
        return torch.empty(0, dtype=torch.int64, device=rows.device)
    is_cpu, is_cosine = rows.device.type == "cpu", metric == "cosine"
    if is_cpu and len(rows) <= SMALL:
        return walk(unit_gram(rows) if is_cosine else gram(centred(rows)), n, start)
    return (rounds if is_cpu else steps)(unit_rows(rows) if is_cosine else centred(rows), n, start)


def walk(dots: torch.Tensor, n: int, start: int) -> torch.Tensor:
    """Reference: the formula as printed, from `dots` [N, N], with the minimum kept from step to step.

    On numpy's views of the same memory, whose calls take a fifth of torch's time on so few numbers.
    """
    norms = dots.diagonal().clone()
    # |x_j|^2 - 2 x_i . x_j: a row lacks its own |x_i|^2, which does not change where its minimum is
    partial = torch.add(norms, dots, alpha=-2, out=dots)
    if start == ISOLATED:
        partial.fill_diagonal_(torch.inf)
        start = int((partial.amin(1) + norms).clamp_(min=0).argmax())
    own, distances = norms.numpy(), partial.numpy()
    nearest = np.full(len(own), np.inf, dtype=np.float32)
    picks = np.empty(n, dtype=np.int64)
    pick = start
    for step in range(n):
        picks[step] = pick
        np.minimum(nearest, np.maximum(distances[pick] + own[pick], 0), out=nearest)
        nearest[pick] = -np.inf
        pick = int(nearest.argmax())
    return torch.from_numpy(picks)


def centred(rows: torch.Tensor) -> torch.Tensor:
    """Rows [N, D] of one set around their mean, float32, scaled by the power of two that brings them to [-2, 2].

    Distances order as they did, but neither overflow nor fade; and where rows stand far from 0, float32 rounds
    their distances, not their places.
    """
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
    if not wide.numel():
        return wide.float()
    low, high = torch.aminmax(wide)
    peak = torch.maximum(-low, high).clamp(min=torch.finfo(wide.dtype).tiny)
    # exact: the mantissa over the number is a power of two
    wide = wide * (torch.frexp(peak).mantissa / peak)
    return (wide - wide.mean(0)).float()


def _picks_triton(rows: torch.Tensor, counts: list[int], sizes: list[int], metric: str, start: int) -> torch.Tensor:
    device, (images, n_rows), n_max = rows.device, rows.shape[:2], max(counts)
    if metric == "cosine":
        dots, own = gram_triton(rows)
    else:
        points = torch.zeros(rows.shape, dtype=torch.float32, device=device)
        for values, place, size in zip(rows, points, sizes, strict=True):
            place[:size] = centred(values[:size])
        dots, own = plain_gram_triton(points)
    ends, block, is_cosine = on_device(sizes, device), next_power_of_2(n_rows), metric == "cosine"
    starts = torch.full((images,), start, dtype=torch.int64, device=device)
    if start == ISOLATED:
        isolation = torch.empty(images, n_rows, dtype=torch.float32, device=device)
        _isolation_kernel[(images * n_rows,)](
            dots, own, ends, isolation, n_rows, IS_COSINE=is_cosine, BLOCK=min(block, 1024), num_warps=4
        )
        starts = isolation.argmax(1)
    picks = torch.full((images, n_max), -1, dtype=torch.int64, device=device)
    _pick_kernel[(images,)](
        dots, own, ends, on_device(counts, device), starts, picks, n_rows, n_max,
        IS_COSINE=is_cosine, BLOCK=block, num_warps=4 if block <= 1024 else 8 if block <= 4096 else 16,
    )  # fmt: skip
    return picks


@jit
def _isolation_kernel(  # type: ignore[no-untyped-def]
    dots, own, sizes, isolation, n_rows, IS_COSINE: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Of one row the squared distance to its nearest neighbour; minus infinity past the end of its set."""
    place = tl.program_id(0).to(tl.int64)
    image, row = place // n_rows, place % n_rows
    size = tl.load(sizes + image)
    norm = tl.load(own + place)
    scale = 1.0
    if IS_COSINE:
        scale = 1.0 / tl.sqrt(tl.maximum(norm, 1.2e-38))
        norm = norm * scale * scale
    nearest = tl.full([BLOCK], float("inf"), tl.float32)
    for first in range(0, size, BLOCK):
        column = first + tl.arange(0, BLOCK)
        is_other = (column < size) & (column != row)
        dot = tl.load(dots + place * n_rows + column, mask=is_other, other=0.0)
        norms = tl.load(own + image * n_rows + column, mask=is_other, other=0.0)
        if IS_COSINE:
            scales = 1.0 / tl.sqrt(tl.maximum(norms, 1.2e-38))
            norms = norms * scales * scales
            dot = dot * scales * scale
        distance = tl.maximum(norms - 2.0 * dot + norm, 0.0)
        nearest = tl.minimum(nearest, tl.where(is_other, distance, float("inf")))
    tl.store(isolation + place, tl.where(row < size, tl.min(nearest, 0), float("-inf")))


@jit
def _pick_kernel(  # type: ignore[no-untyped-def]
    dots, own, sizes, counts, starts, picks, n_rows, n_max, IS_COSINE: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """All picks of one set in one program: a row of dot products a step, the running minimum in registers."""
    image = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < tl.load(sizes + image)
    norms = tl.load(own + image * n_rows + columns, mask=inside, other=0.0)
    if IS_COSINE:
        scales = 1.0 / tl.sqrt(tl.maximum(norms, 1.2e-38))
        norms = norms * scales * scales
    nearest = tl.where(inside, float("inf"), float("-inf"))
    pick = tl.load(starts + image)
    for step in range(0, tl.load(counts + image)):
        tl.store(picks + image * n_max + step, pick)
        dot = tl.load(dots + (image * n_rows + pick) * n_rows + columns, mask=inside, other=0.0)
        norm = tl.load(own + image * n_rows + pick)
        if IS_COSINE:
            scale = 1.0 / tl.sqrt(tl.maximum(norm, 1.2e-38))
            norm = norm * scale * scale
            dot = dot * scales * scale
        nearest = tl.minimum(nearest, tl.maximum(norms - 2.0 * dot + norm, 0.0))
        nearest = tl.where(columns == pick, float("-inf"), nearest)
        pick = tl.argmax(nearest, axis=0).to(tl.int64)
