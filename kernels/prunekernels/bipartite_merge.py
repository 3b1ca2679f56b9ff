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
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from prunekernels import _ops
from prunekernels._backend import Backend, is_interpreting, jit, next_power_of_2, use_triton
from prunekernels._finite import check_finite
from prunekernels._nearest import nearest_triton
from prunekernels._precision import full_precision
from prunekernels._sums import sum_rows
from prunekernels._unit import check_rows, unit_rows

if TYPE_CHECKING:
    import triton.language as tl

# cosines held at a time (64 MiB)
MAX_PAIRS = 4096**2


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
    n_tokens = tokens.shape[1]
    if sizes is not None:
        sizes = sizes.detach().to(torch.promote_types(sizes.dtype, torch.float32))
    r = min(r, max(n_tokens - protected, 0) // 2)
    target, kept, away = _bipartite_target(metric.detach(), r, protected, backend)
    # torch's own functions with a gradient take as long as a merge
    has_gradient = tokens.requires_grad and torch.is_grad_enabled()
    means, totals = (MergeTokens.apply if has_gradient else _bipartite_means)(
        tokens, sizes, target, kept, away, backend
    )
    merged = Merged(means, totals, target)
    return Merged(*(field[0] for field in merged)) if single else merged


class MergeTokens(torch.autograd.Function):
    """The means of merged tokens, with a gradient in the tokens: each one has its share of its mean's."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        tokens: torch.Tensor, sizes: torch.Tensor | None, target: torch.Tensor, kept: torch.Tensor, away: torch.Tensor,
        backend: str,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        means, totals = _bipartite_means(tokens, sizes, target, kept, away, backend)
        ctx.save_for_backward(sizes, target, totals)
        ctx.mark_non_differentiable(totals)
        return means, totals

    @staticmethod
    def backward(ctx, gradient: torch.Tensor, _: torch.Tensor):  # type: ignore[no-untyped-def]
        sizes, target, totals = ctx.saved_tensors
        share = ((1 if sizes is None else sizes) / totals.gather(1, target))[..., None]
        rows = gradient.gather(1, target[..., None].expand(-1, -1, gradient.shape[-1]))
        return (rows * share).to(gradient.dtype), None, None, None, None, None


def _empty_target(
    metric: torch.Tensor, r: int, protected: int, backend: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images, n_tokens = metric.shape[:2]
    each = n_tokens, n_tokens - r, r
    target, kept, away = (metric.new_empty(images, length, dtype=torch.int64) for length in each)
    return target, kept, away


@_ops.operator(_empty_target)
@full_precision
def _bipartite_target(
    metric: torch.Tensor, r: int, protected: int, backend: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where each token goes [B, N], which one stays in each place [B, N - r], and which ones leave [B, r]: int64."""
    check_rows("metric", metric)
    images, n_tokens = metric.shape[:2]
    fused = use_triton(metric, backend)
    if not images or r == 0:
        own = torch.arange(n_tokens, device=metric.device).expand(images, -1)
        return own.clone(), own[:, : n_tokens - r].clone(), own[:, :r].clone()
    unit = unit_rows(metric)
    best, place = (_match_triton if fused else _match_torch)(unit, protected // 2)
    # the first half-rounded-up tokens of A are protected
    best[:, : (protected + 1) // 2] = -torch.inf
    ranked, order = best.sort(descending=True, stable=True)
    if fused:
        return _target_triton(best, place, ranked[:, r - 1], order[:, r - 1], n_tokens, r)
    return (_target_torch if metric.is_cuda else _target_numpy)(place, order[:, :r], n_tokens)


def _target_numpy(
    place: torch.Tensor, chosen: torch.Tensor, n_tokens: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Reference: the map, and who stays and leaves, for the `chosen` [B, r] of A; numpy's calls take less time."""
    rows = np.sort(chosen.numpy(), 1)
    away, into = 2 * rows, 2 * np.take_along_axis(place.numpy(), rows, 1) + 1
    stays = np.ones((len(rows), n_tokens), dtype=bool)
    np.put_along_axis(stays, away, False, 1)
    target = stays.cumsum(1) - 1
    np.put_along_axis(target, away, np.take_along_axis(target, into, 1), 1)
    kept = stays.nonzero()[1].reshape(len(rows), -1)
    return torch.from_numpy(target), torch.from_numpy(kept), torch.from_numpy(away)


def _target_torch(
    place: torch.Tensor, chosen: torch.Tensor, n_tokens: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same without a wait for a GPU."""
    images, r = chosen.shape
    rows = chosen.sort(1).values
    away, into = 2 * rows, 2 * place.gather(1, rows) + 1
    stays = torch.ones(images, n_tokens, dtype=torch.bool, device=place.device).scatter_(1, away, False)
    rank = stays.cumsum(1) - 1
    # whoever leaves writes into a place behind the last
    kept = torch.empty(images, n_tokens - r + 1, dtype=torch.int64, device=place.device)
    tokens = torch.arange(n_tokens, device=place.device).expand(images, -1)
    kept.scatter_(1, rank.masked_fill(~stays, n_tokens - r), tokens)
    return rank.scatter(1, away, rank.gather(1, into)), kept[:, :-1].contiguous(), away


def _match_torch(unit: torch.Tensor, skip: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of A of `unit` [B, N, D] the largest cosine in B from `skip` on, and its place: [B, N / 2]."""
    left, right = unit[:, ::2], unit[:, 1 + 2 * skip :: 2]
    n_rows = max(1, MAX_PAIRS // max(right.shape[1], 1))
    best, place = [], []
    # one image at a time, as if it were alone
    for rows, columns in zip(left.unbind(), right.unbind(), strict=True):
        for block in rows.split(n_rows):
            top, where = (block @ columns.T).max(1)
            best.append(top)
            place.append(where)
    shape = len(unit), left.shape[1]
    return torch.cat(best).view(shape), torch.cat(place).view(shape).add_(skip)


def _match_triton(unit: torch.Tensor, skip: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same in one launch for the whole batch: an image's columns stand in one range."""
    left, right = unit[:, ::2], unit[:, 1::2]
    images, n_rows, n_columns = len(left), left.shape[1], right.shape[1]
    start = torch.arange(images, device=unit.device).repeat_interleave(n_rows) * n_columns
    best, place = nearest_triton(left.flatten(0, 1), right.flatten(0, 1), start + skip, start + n_columns)
    return best.view(images, n_rows), (place - start).view(images, n_rows)


def _empty_means(
    tokens: torch.Tensor,
    sizes: torch.Tensor | None,
    target: torch.Tensor,
    kept: torch.Tensor,
    away: torch.Tensor,
    backend: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    return tokens.new_empty(*kept.shape, tokens.shape[-1]), tokens.new_empty(
        kept.shape, dtype=torch.float32 if sizes is None else sizes.dtype
    )


@_ops.operator(_empty_means)
@full_precision
def _bipartite_means(
    tokens: torch.Tensor,
    sizes: torch.Tensor | None,
    target: torch.Tensor,
    kept: torch.Tensor,
    away: torch.Tensor,
    backend: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Size-weighted means [B, N - r, C] of the tokens that go to each place, and the sizes together [B, N - r]."""
    check_rows("tokens", tokens)
    if sizes is None:
        sizes = torch.ones(tokens.shape[:2], dtype=torch.float32, device=tokens.device)
    else:
        _check_sizes(sizes)
    images, n_tokens, width = tokens.shape
    n_left = kept.shape[1]
    if n_left == n_tokens:
        return tokens.clone(), sizes.clone()
    if use_triton(tokens, backend):
        return _means_triton(tokens, sizes, target, kept, away)
    rows, own_sizes = tokens.flatten(0, 1), sizes.flatten()
    into = target.gather(1, away)
    if images > 1:
        image = torch.arange(images, device=tokens.device)[:, None]
        kept, away, into = kept + n_tokens * image, away + n_tokens * image, into + n_left * image
    kept, away, into = kept.flatten(), away.flatten(), into.flatten()
    means, totals = rows.index_select(0, kept), own_sizes.index_select(0, kept)
    moved, moved_size = rows.index_select(0, away), own_sizes.index_select(0, away)[:, None]
    # a CPU computes only the places that somebody joins; how many there are, a GPU would have to be asked
    joined, place = torch.arange(len(means), device=means.device), into
    if not means.is_cuda:
        joined, place = into.unique(return_inverse=True)
    own, own_size = means.index_select(0, joined), totals.index_select(0, joined)[:, None]
    added = sum_rows(moved * moved_size, place, len(joined))
    added_size = sum_rows(moved_size, place, len(joined))
    total = own_size + added_size
    # the mean as a step from its own token
    mean = own + torch.addcmul(added, added_size, own, value=-1).div_(total)
    means.index_copy_(0, joined, mean.to(tokens.dtype))
    totals.index_copy_(0, joined, total[:, 0])
    return means.view(images, n_left, width), totals.view(images, n_left)


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


def _target_triton(
    best: torch.Tensor, place: torch.Tensor, cut: torch.Tensor, cut_row: torch.Tensor, n_tokens: int, r: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = len(best)
    target = torch.empty(images, n_tokens, dtype=torch.int64, device=best.device)
    kept = torch.empty(images, n_tokens - r, dtype=torch.int64, device=best.device)
    away = torch.empty(images, r, dtype=torch.int64, device=best.device)
    block = next_power_of_2(n_tokens)
    _target_kernel[(images,)](
        best.contiguous(), place.contiguous(), cut.contiguous(), cut_row.contiguous(), target, kept, away,
        n_tokens, best.shape[1], n_tokens - r, BLOCK=block, num_warps=4 if block <= 2048 else 16,
    )  # fmt: skip
    return target, kept, away


@jit
def _target_kernel(  # type: ignore[no-untyped-def]
    best, place, cut, cut_row, target, kept, away, n_tokens, n_rows, n_left, BLOCK: tl.constexpr
):  # fmt: skip
    """One image: a token of A leaves if it stands before or at the last of the r in the order of their cosines."""
    image = tl.program_id(0).to(tl.int64)
    token = tl.arange(0, BLOCK)
    is_token, row = token < n_tokens, token // 2
    is_left = is_token & (token % 2 == 0)
    cosine = tl.load(best + image * n_rows + row, mask=is_left, other=float("-inf"))
    last, last_row = tl.load(cut + image), tl.load(cut_row + image)
    leaves = is_left & ((cosine > last) | ((cosine == last) & (row <= last_row)))
    stays = is_token & ~leaves
    rank = (tl.cumsum(stays.to(tl.int32), 0) - 1).to(tl.int64)
    tl.store(target + image * n_tokens + token, rank, mask=stays)
    tl.store(kept + image * n_left + rank, token.to(tl.int64), mask=stays)
    tl.store(away + image * (n_tokens - n_left) + token - rank - 1, token.to(tl.int64), mask=leaves)
    # a place of B is read by another thread than the one that wrote it
    tl.debug_barrier()
    into = 2 * tl.load(place + image * n_rows + row, mask=leaves, other=0) + 1
    joined = tl.load(target + image * n_tokens + into, mask=leaves, other=0)
    tl.store(target + image * n_tokens + token, joined, mask=leaves)


def _means_triton(
    tokens: torch.Tensor, sizes: torch.Tensor, target: torch.Tensor, kept: torch.Tensor, away: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
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
