"""Which tokens leave in a bipartite merge, and where everyone goes: the matching of `bipartite_merge`.

    A = tokens at even places, B = at odd ones;   b(a) = argmax_{b in B} cos(a, b)

The r of A with the largest cosine leave for their b(a), the lower one in a tie. The first `protected` tokens neither
leave nor are joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from prunekernels._backend import jit, next_power_of_2
from prunekernels._nearest import nearest_triton

if TYPE_CHECKING:
    import triton.language as tl

# cosines held at a time (64 MiB)
MAX_PAIRS = 4096**2

# the most tokens whose places a kernel's registers hold
LARGE = 8192


class Leaving(NamedTuple):
    """`target` [B, N], the place of each token; `kept` [B, N - r], who stays there; `away` [B, r], who left: int64."""

    target: torch.Tensor
    kept: torch.Tensor
    away: torch.Tensor


def leaving_numpy(unit: torch.Tensor, r: int, protected: int) -> Leaving:
    """Reference, on a CPU: `unit` [B, N, D] are rows of length 1. On so few numbers numpy's calls take less time."""
    images, n_tokens = unit.shape[:2]
    left, right = unit[:, ::2], unit[:, 1::2]
    image, row = np.arange(images)[:, None], np.arange(left.shape[1])
    best = np.empty((images, len(row)), dtype=np.float32)
    place = np.empty((images, len(row)), dtype=np.int64)
    height, skip = max(1, MAX_PAIRS // right.shape[1]), protected // 2
    # one image at a time, as if it were alone
    for each in range(images):
        columns = right[each, skip:].T
        for first in range(0, len(row), height):
            cosines = (left[each, first : first + height] @ columns).numpy()
            where = cosines.argmax(1)
            best[each, first : first + height] = cosines[row[: len(where)], where]
            place[each, first : first + height] = where + skip
    # the first half-rounded-up tokens of A are protected
    best[:, : (protected + 1) // 2] = -np.inf
    rows = np.sort(np.argsort(-best, axis=1, kind="stable")[:, :r], axis=1)
    away, into = 2 * rows, 2 * place[image, rows] + 1
    stays = np.ones((images, n_tokens), dtype=bool)
    stays[image, away] = False
    target = stays.cumsum(1) - 1
    target[image, away] = target[image, into]
    kept = stays.nonzero()[1].reshape(images, -1)
    return Leaving(torch.from_numpy(target), torch.from_numpy(kept), torch.from_numpy(away))


def leaving_torch(unit: torch.Tensor, r: int, protected: int) -> Leaving:
    """The same on a GPU without Triton, and without a wait for it."""
    best, place = (unit[:, ::2] @ unit[:, 1 + protected // 2 * 2 :: 2].mT).max(2)
    best[:, : (protected + 1) // 2] = -torch.inf
    chosen = best.sort(descending=True, stable=True).indices[:, :r]
    return _map_torch(chosen, place + protected // 2, unit.shape[1])


def _map_torch(chosen: torch.Tensor, place: torch.Tensor, n_tokens: int) -> Leaving:
    """From the `chosen` of A, and the `place` in B that each of A matched."""
    images, r = chosen.shape
    rows = chosen.sort(1).values
    away, into = 2 * rows, 2 * place.gather(1, rows) + 1
    stays = torch.ones(images, n_tokens, dtype=torch.bool, device=place.device).scatter_(1, away, False)
    rank = stays.cumsum(1) - 1
    # whoever leaves writes into a place behind the last
    kept = torch.empty(images, n_tokens - r + 1, dtype=torch.int64, device=place.device)
    tokens = torch.arange(n_tokens, device=place.device).expand(images, -1)
    kept.scatter_(1, rank.masked_fill(~stays, n_tokens - r), tokens)
    return Leaving(rank.scatter(1, away, rank.gather(1, into)), kept[:, :-1].contiguous(), away)


def leaving_triton(unit: torch.Tensor, r: int, protected: int) -> Leaving:
    """The same: the matches of the whole batch in one launch, the map in another."""
    (images, n_tokens), device = unit.shape[:2], unit.device
    left, right = unit[:, ::2], unit[:, 1::2]
    n_rows, n_columns = left.shape[1], right.shape[1]
    # an image's columns stand in one range
    start = torch.arange(images, device=device).repeat_interleave(n_rows) * n_columns
    flat, column = nearest_triton(left.flatten(0, 1), right.flatten(0, 1), start + protected // 2, start + n_columns)
    # rows that are not finite, which are told of later, may have no match
    best, place = flat.view(images, n_rows), (column - start).clamp(0, n_columns - 1).view(images, n_rows)
    best[:, : (protected + 1) // 2] = -torch.inf
    ranked, order = best.sort(descending=True, stable=True)
    if n_tokens > LARGE:
        return _map_torch(order[:, :r], place, n_tokens)
    target = torch.empty(images, n_tokens, dtype=torch.int64, device=device)
    kept = torch.empty(images, n_tokens - r, dtype=torch.int64, device=device)
    away = torch.empty(images, r, dtype=torch.int64, device=device)
    block = next_power_of_2(n_tokens)
    _leaving_kernel[(images,)](
        best, place, ranked[:, r - 1].contiguous(), order[:, r - 1].contiguous(), target, kept, away,
        n_tokens, n_rows, n_tokens - r, BLOCK=block, num_warps=4 if block <= 2048 else 16,
    )  # fmt: skip
    return Leaving(target, kept, away)


@jit
def _leaving_kernel(  # type: ignore[no-untyped-def]
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
    rank = tl.cumsum(stays.to(tl.int32), 0) - 1
    tl.store(target + image * n_tokens + token, rank.to(tl.int64), mask=stays)
    tl.store(kept + image * n_left + rank, token.to(tl.int64), mask=stays)
    tl.store(away + image * (n_tokens - n_left) + token - rank - 1, token.to(tl.int64), mask=leaves)
    # a place of B is read by another thread than the one that wrote it
    tl.debug_barrier()
    into = 2 * tl.load(place + image * n_rows + row, mask=leaves, other=0) + 1
    joined = tl.load(target + image * n_tokens + into, mask=leaves, other=0)
    tl.store(target + image * n_tokens + token, joined, mask=leaves)
