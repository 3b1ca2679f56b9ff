"""Bipartite soft matching, the merge step of ToMe (Bolya et al. 2023, arXiv:2210.09461).

    A = tokens at even places, B = at odd ones;   b(a) = argmax_{b in B} cos(metric_a, metric_b)
    the r tokens of A with the largest cosine join their b(a):   x_b = sum size_i x_i / sum size_i

The cosines are float32 whatever the input. Many of A may join the same token of B. In the published code the
class token (place 0) is never merged away and the distillation token (place 1) never merged into; here the
first `protected` tokens are both, and stay as they are. Sizes and the size-weighted sum of tokens are conserved.

"auto" takes the kernel on a GPU from 2,048 tokens on (counted, not yet measured): there the N^2 / 4 cosines, 4 MiB
an image and written and read back, begin to cost as much as their product; below, that is one small batched
product. On a CPU the cosines are made a block of rows at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from prunekernels._backend import Backend, use_triton
from prunekernels._nearest import nearest_triton
from prunekernels._sums import sum_rows
from prunekernels._unit import check_rows, unit_rows

# cosines held at a time (64 MiB); and where "auto" takes the kernel: tokens of one image
MAX_PAIRS, KERNEL_TOKENS = 4096**2, 2048


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
    _check(tokens, metric, r, sizes, protected)
    n_tokens = tokens.shape[1]
    if sizes is None:
        sizes = torch.ones(tokens.shape[:2], device=tokens.device)
    sizes = sizes.to(torch.promote_types(sizes.dtype, torch.float32))
    r = min(r, max(n_tokens - protected, 0) // 2)
    fused = use_triton(tokens, backend) and (backend == "triton" or n_tokens >= KERNEL_TOKENS)
    if r == 0:
        target = torch.arange(n_tokens, device=tokens.device).expand(tokens.shape[:2]).clone()
        merged = Merged(tokens, sizes, target)
    else:
        unit = unit_rows(metric.detach())
        left, right = unit[:, ::2], unit[:, 1::2]
        best, place = (_match_triton if fused else _match_torch)(left, right, protected // 2)
        # the first half-rounded-up tokens of A are protected
        best[:, : (protected + 1) // 2] = -torch.inf
        merged = _merge(tokens, sizes, best.sort(descending=True, stable=True).indices[:, :r], place)
    return Merged(*(field[0] for field in merged)) if single else merged


def _match_torch(left: torch.Tensor, right: torch.Tensor, skip: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of `left` [B, A, D] the largest cosine in `right` [B, M, D] from `skip` on, and its place."""
    n_rows = max(1, MAX_PAIRS // max(len(right) * right.shape[1], 1))
    best, place = [], []
    for first in range(0, left.shape[1], n_rows):
        cosines = left[:, first : first + n_rows] @ right[:, skip:].mT
        place.append(cosines.argmax(-1))
        best.append(cosines.gather(-1, place[-1][..., None])[..., 0])
    return torch.cat(best, 1), torch.cat(place, 1) + skip


def _match_triton(left: torch.Tensor, right: torch.Tensor, skip: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same in one launch for the whole batch: an image's columns stand in one range."""
    images, n_rows, n_columns = len(left), left.shape[1], right.shape[1]
    start = torch.arange(images, device=left.device).repeat_interleave(n_rows) * n_columns
    best, place = nearest_triton(left.flatten(0, 1), right.flatten(0, 1), start + skip, start + n_columns)
    return best.view(images, n_rows), (place - start).view(images, n_rows)


def _merge(tokens: torch.Tensor, sizes: torch.Tensor, chosen: torch.Tensor, place: torch.Tensor) -> Merged:
    """Join the `chosen` [B, r] of A with the `place` [B, A] of B that each one matched."""
    images, n_tokens, width = tokens.shape
    image = torch.arange(images, device=tokens.device)[:, None]
    away, into = 2 * chosen, 2 * place.gather(1, chosen) + 1
    stays = torch.ones(images, n_tokens, dtype=torch.bool, device=tokens.device).scatter_(1, away, False)
    rank = stays.cumsum(1) - 1
    target = rank.scatter(1, away, rank.gather(1, into))
    n_left = n_tokens - away.shape[1]
    kept = stays.byte().sort(dim=1, descending=True, stable=True).indices[:, :n_left]

    rows, joined = tokens.flatten(0, 1), (target.gather(1, away) + n_left * image).flatten()
    own = rows.index_select(0, (kept + n_tokens * image).flatten())
    moved = rows.index_select(0, (away + n_tokens * image).flatten())
    own_size, moved_size = sizes.gather(1, kept).view(-1, 1), sizes.gather(1, away).view(-1, 1)
    added = sum_rows(moved * moved_size, joined, len(own))
    added_size = sum_rows(moved_size, joined, len(own))
    total = own_size + added_size
    # the mean as a step from its own token, so that a token that nothing joined stays bit for bit
    mean = own + torch.addcmul(added, added_size, own, value=-1).div_(total)
    return Merged(mean.to(tokens.dtype).view(images, n_left, width), total.view(images, n_left), target)


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
    if sizes is not None and not ((sizes > 0) & sizes.isfinite()).all():
        image, row = (~((sizes > 0) & sizes.isfinite())).nonzero()[0].tolist()
        raise ValueError(f"row {row} of set {image}: want a positive size, got {float(sizes[image, row])}")
    check_rows("tokens", tokens)
    check_rows("metric", metric)
