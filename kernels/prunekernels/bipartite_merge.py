"""Bipartite soft matching, the merge step of ToMe (Bolya et al. 2023, arXiv:2210.09461).

    A = tokens at even places, B = at odd ones;   b(a) = argmax_{b in B} cos(metric_a, metric_b)
    the r tokens of A with the largest cosine join their b(a):   x_b = sum size_i x_i / sum size_i

The cosines are float32 whatever the input. Many of A may join the same token of B. In the published code the
class token (place 0) is never merged away and the distillation token (place 1) never merged into; here the
first `protected` tokens are both, and stay as they are. Sizes and the size-weighted sum of tokens are conserved.

"auto" takes kernels on a GPU: one for the matches, without the N^2 / 4 cosines, one for the map and one for the means.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from prunekernels import _ops
from prunekernels._backend import Backend, is_interpreting, jit, next_power_of_2, use_triton
from prunekernels._finite import check_finite
from prunekernels._leaving import Leaving, leaving_numpy, leaving_torch, leaving_triton
from prunekernels._precision import full_precision
from prunekernels._sums import sum_rows
from prunekernels._unit import check_rows, unit_rows

if TYPE_CHECKING:
    import triton.language as tl


class Merged(NamedTuple):
    """`tokens` [B, N - r, C], `sizes` [B, N - r] (float), `target` int64 [B, N]: where each old token went."""

    tokens: torch.Tensor
    sizes: torch.Tensor
    target: torch.Tensor


def bipartite_merge(
    tokens: torch.Tensor,
    metric: torch.Tensor,
    r: int,
    sizes: torch.Tensor | None = None,
    protected: int = 0,
    *,
    backend: Backend = "auto",
) -> Merged:
    """Merge `r` of `tokens` [B, N, C] or [N, C] by their `metric` [B, N, D] or [N, D], attention keys in ToMe.

    `sizes` [B, N] (default 1) says how many patches a token stands for. `r` is capped at (N - protected) // 2.
    The tokens left keep their order: a merged token stands at the place of its B. Ties go to the lower index, in
    the choice of b(a) and of the r. Differentiable in `tokens`. Raises ValueError for other shapes, r < 0, sizes
    that are not positive, and NaN or infinity, with the row named.
    """
    single = tokens.ndim == 2
    if single:
        tokens, metric, sizes = tokens[None], metric[None], None if sizes is None else sizes[None]
    r = operator.index(r)
    _check(tokens, metric, r, sizes, protected)
    if sizes is not None:
        sizes = sizes.detach().to(torch.promote_types(sizes.dtype, torch.float32))
    r = min(r, max(tokens.shape[1] - protected, 0) // 2)
    # torch's own functions with a gradient take as long as a merge
    has_gradient = tokens.requires_grad and torch.is_grad_enabled()
    merge = Merge.apply if has_gradient else _bipartite_merge
    merged = Merged(*merge(tokens, metric.detach(), sizes, r, protected, backend))
    return Merged(*(field[0] for field in merged)) if single else merged


class Merge(torch.autograd.Function):
    """The merge with a gradient in the tokens: each one has its share of its mean's."""

    @staticmethod
    def forward(
        ctx: Any,
        tokens: torch.Tensor, metric: torch.Tensor, sizes: torch.Tensor | None, r: int, protected: int, backend: str,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
        means, totals, target = _bipartite_merge(tokens, metric, sizes, r, protected, backend)
        ctx.save_for_backward(sizes, totals, target)
        ctx.mark_non_differentiable(totals, target)
        return means, totals, target

    @staticmethod
    def backward(ctx, gradient: torch.Tensor, *_: torch.Tensor):  # type: ignore[no-untyped-def]
        sizes, totals, target = ctx.saved_tensors
        # a quotient of whole numbers in float32 would be too coarse for a gradient in float64
        totals = totals.gather(1, target).to(torch.promote_types(gradient.dtype, totals.dtype))
        share = ((1 if sizes is None else sizes) / totals)[..., None]
        rows = gradient.gather(1, target[..., None].expand(-1, -1, gradient.shape[-1]))
        return (rows * share).to(gradient.dtype), None, None, None, None, None


def _empty(
    tokens: torch.Tensor, metric: torch.Tensor, sizes: torch.Tensor | None, r: int, protected: int, backend: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images, n_tokens, width = tokens.shape
    totals = tokens.new_empty(images, n_tokens - r, dtype=torch.float32 if sizes is None else sizes.dtype)
    target = tokens.new_empty(images, n_tokens, dtype=torch.int64)
    return tokens.new_empty(images, n_tokens - r, width), totals, target


@_ops.operator(_empty)
@full_precision
def _bipartite_merge(
    tokens: torch.Tensor, metric: torch.Tensor, sizes: torch.Tensor | None, r: int, protected: int, backend: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    check_rows("tokens", tokens)
    check_rows("metric", metric)
    images, n_tokens = tokens.shape[:2]
    if sizes is None:
        sizes = torch.ones(images, n_tokens, dtype=torch.float32, device=tokens.device)
    else:
        _check_sizes(sizes)
    if not images or r == 0:
        target = torch.arange(n_tokens, device=tokens.device).expand(images, -1).clone()
        return tokens[:, : n_tokens - r].clone(), sizes[:, : n_tokens - r].clone(), target
    fused, unit = use_triton(tokens, cast(Backend, backend)), unit_rows(metric)
    if fused:
        leaving = leaving_triton(unit, r, protected)
    else:
        leaving = (leaving_torch if metric.is_cuda else leaving_numpy)(unit, r, protected)
    return *(_means_triton if fused else _means_torch)(tokens, sizes, leaving), leaving.target


def _means_torch(tokens: torch.Tensor, sizes: torch.Tensor, leaving: Leaving) -> tuple[torch.Tensor, torch.Tensor]:
    """Reference: the size-weighted means [B, N - r, C] of what goes to each place, and the sizes [B, N - r]."""
    target, kept, away = leaving
    images, n_tokens, width = tokens.shape
    n_left = kept.shape[1]
    into = target.gather(1, away)
    if images > 1:
        image = torch.arange(images, device=tokens.device)[:, None]
        kept, away, into = kept + n_tokens * image, away + n_tokens * image, into + n_left * image
    kept, away, into = kept.flatten(), away.flatten(), into.flatten()
    rows, own_sizes, wide = tokens.flatten(0, 1), sizes.flatten(), torch.promote_types(tokens.dtype, sizes.dtype)
    means, own_size = rows.index_select(0, kept).to(wide), own_sizes.index_select(0, kept)
    moved, moved_size = rows.index_select(0, away).to(wide), own_sizes.index_select(0, away)
    totals = own_size + sum_rows(moved_size[:, None], into, len(own_size))[:, 0]
    # a token that nothing joined has a share of 1 and stays bit for bit
    means.mul_((own_size.to(wide) / totals)[:, None])
    moved.mul_((moved_size.to(wide) / totals.index_select(0, into))[:, None])
    if means.is_cuda:
        means += sum_rows(moved, into, len(means))
    else:
        means.index_add_(0, into, moved)
    return means.to(tokens.dtype).view(images, n_left, width), totals.view(images, n_left)


def _check(tokens: torch.Tensor, metric: torch.Tensor, r: int, sizes: torch.Tensor | None, protected: int) -> None:
    if tokens.ndim != 3 or metric.ndim != 3 or metric.shape[:2] != tokens.shape[:2]:
        raise ValueError(
            f"want tokens [B, N, C] and metric [B, N, D] (or both without B), got {[*tokens.shape]} and "
            f"{[*metric.shape]}"
        )
    if r < 0 or protected < 0:
        raise ValueError(f"want r and protected of at least 0, got {r} and {protected}")
    if sizes is not None and sizes.shape != tokens.shape[:2]:
        raise ValueError(f"want sizes {[*tokens.shape[:2]]}, got {[*sizes.shape]}")


def _check_sizes(sizes: torch.Tensor) -> None:
    """Raise for sizes [B, N] that are not positive; on a GPU they count as not finite, and later."""
    if sizes.is_cuda:
        check_finite("sizes", sizes.masked_fill(sizes <= 0, torch.nan))
        return
    low, high = sizes.aminmax() if sizes.numel() else (torch.inf, 0)
    if not (low > 0 and high < torch.inf):
        bad = ~((sizes > 0) & sizes.isfinite())
        image, row = bad.nonzero()[0].tolist()
        raise ValueError(f"row {row} of set {image}: want a positive size, got {float(sizes[image, row])}")


def _means_triton(tokens: torch.Tensor, sizes: torch.Tensor, leaving: Leaving) -> tuple[torch.Tensor, torch.Tensor]:
    target, kept, away = leaving
    images, n_tokens, width = tokens.shape
    n_left = kept.shape[1]
    # the interpreter cuts a float32 to bfloat16 where the compiled kernel rounds it
    wide = torch.promote_types(tokens.dtype, sizes.dtype) if is_interpreting() else tokens.dtype
    means = torch.empty(images, n_left, width, dtype=wide, device=tokens.device)
    totals = torch.empty(images, n_left, dtype=sizes.dtype, device=tokens.device)
    block = min(next_power_of_2(width), 1024)
    _means_kernel[(images * n_left, -(-width // block))](
        tokens.contiguous(), sizes.contiguous(), target, kept, away, means, totals, n_tokens, n_left, width,
        BLOCK=block, ROWS=min(next_power_of_2(n_tokens - n_left), 1024), num_warps=4,
    )  # fmt: skip
    return means.to(tokens.dtype), totals


@jit
def _means_kernel(  # type: ignore[no-untyped-def]
    tokens, sizes, target, kept, away, means, totals, n_tokens, n_left, width,
    BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """One place: its own token, and those that join it one after the other."""
    place = tl.program_id(0).to(tl.int64)
    image, slot = place // n_left, place % n_left
    tokens += image * n_tokens * width
    sizes += image * n_tokens
    target += image * n_tokens
    dim = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_dim = dim < width
    stays = tl.load(kept + place)
    own_size = tl.load(sizes + stays)
    own = tl.load(tokens + stays * width + dim, mask=is_dim, other=0.0)
    # at least float32, as sizes are
    added = tl.zeros([BLOCK], (own * own_size).dtype)
    own = own.to(added.dtype)
    added_size = own_size * 0
    # only a place of B is joined
    n_away = n_tokens - n_left
    for first in range(0, tl.where(stays % 2 == 1, n_away, 0), ROWS):
        entry = first + tl.arange(0, ROWS)
        token = tl.load(away + image * n_away + entry, mask=entry < n_away, other=0)
        joins = (tl.load(target + token, mask=entry < n_away, other=-1) == slot) & (entry < n_away)
        last = slot * 0 - 1
        for _ in range(0, tl.sum(joins.to(tl.int32), 0)):
            last = tl.min(tl.where(joins & (token > last), token, 9223372036854775807), 0)
            size = tl.load(sizes + last)
            added += size * tl.load(tokens + last * width + dim, mask=is_dim, other=0.0)
            added_size += size
    total = own_size + added_size
    # the mean as a step from its own token, so that one that nothing joined stays bit for bit
    mean = own + (added - added_size * own) / total
    tl.store(means + place * width + dim, mean.to(means.dtype.element_ty), mask=is_dim)
    tl.store(totals + place, total, mask=tl.program_id(1) == 0)
