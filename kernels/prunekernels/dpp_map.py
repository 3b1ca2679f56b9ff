"""Greedy MAP of a conditional determinantal point process (Chen et al. 2018, arXiv:1709.05135).

    L_ij = quality_i cos(x_i, x_j) quality_j,      pick_t = argmax_j  log det L_{S + j} - log det L_S

The gain is the log of j's residual variance given the picks, kept up to date through one row of the Cholesky
factor a step: O(n^2 N) for n picks of N rows. CDPruner (arXiv:2506.10967) takes it over visual tokens with the
relevance to the question as quality. Earlier picks add more volume, and the first m of n picks are those for m.

The matrix is float32 whatever the input. A row that the picks span already (its residual is below 1e-5 of its
own L_jj, which float32 cannot tell from 0) comes after all others, by quality. Ties go to the lower index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from prunekernels import _ops
from prunekernels._backend import Backend, jit, limits, next_power_of_2, use_triton
from prunekernels._gram import gram, gram_triton
from prunekernels._precision import full_precision
from prunekernels._sets import as_sets, check_sets, empty_picks, inside, keeps_pairs, on_device, stack
from prunekernels._unit import unit_rows

if TYPE_CHECKING:
    import triton.language as tl

SPANNED = 1e-5

# below it a number of float32 has fewer digits
SMALLEST = 1.2e-38

# rows for each pick up to which the torch form makes all pairs: a product reads its rows once, a step each time; and
# the most pairs that it keeps (512 MiB)
PAIRS_PER_PICK, MAX_PAIRS = 10, 2**27

# the most rows whose residuals a kernel's registers hold beside a tile of Cholesky rows
LARGE = 8192


def dpp_map(
    features: torch.Tensor,
    quality: torch.Tensor,
    n: int | Sequence[int],
    sizes: Sequence[int] | None = None,
    *,
    backend: Backend = "auto",
) -> torch.Tensor:
    """Pick `n` rows of `features` [N, D] with `quality` [N] >= 0; returns int64 [n], in the order of picking.

    Features [B, N, D] with quality [B, N] are B sets of the first `sizes` [B] rows each (default: all N) with one
    `n` for all or a sequence [B]; the picks are then int64 [B, max n], filled up with -1. Raises ValueError for
    other shapes, a count that is not in [0, N], a negative quality, and NaN or infinity, with the row named.
    """
    if quality.shape != features.shape[:-1]:
        raise ValueError(f"want quality {[*features.shape[:-1]]}, got {[*quality.shape]}")
    sets = as_sets(features, n, sizes)
    own = quality.detach()[None] if features.ndim == 2 else quality.detach()
    picks = _dpp_map(sets.rows, own, sets.counts, sets.sizes, backend)
    return picks[0] if features.ndim == 2 else picks


def _empty(
    rows: torch.Tensor, quality: torch.Tensor, counts: list[int], sizes: list[int], backend: str
) -> torch.Tensor:
    return empty_picks(rows, counts)


@_ops.operator(_empty)
@full_precision
def _dpp_map(
    rows: torch.Tensor, quality: torch.Tensor, counts: list[int], sizes: list[int], backend: str
) -> torch.Tensor:
    check_sets("features", rows, sizes)
    strength = _strength(quality, sizes)
    if use_triton(rows, cast(Backend, backend)) and keeps_pairs(rows, LARGE) and max(counts, default=0):
        return _picks_triton(rows, strength, counts, sizes)
    walk = dpp_map_numpy if rows.device.type == "cpu" else dpp_map_torch
    # each set in memory of its own: what the others hold changes nothing
    each = zip(rows, strength, counts, sizes, strict=True)
    return stack(
        [walk(unit_rows(own[:size]) * level[:size, None], count) for own, level, count, size in each], rows.device
    )


def dpp_map_torch(rows: torch.Tensor, n: int) -> torch.Tensor:
    """Reference: `n` picks for L = rows rows^T, `rows` [N, D] being directions times quality. Never waits."""
    own = torch.linalg.vecdot(rows, rows)
    residual, limit = own.clone(), SPANNED * own
    # spanned rows compete below all others, ordered by quality between -1 and 0
    spanned = -1 / (1 + own)
    factor = rows.new_zeros(n, len(rows))
    picks = torch.empty(n, dtype=torch.int64, device=rows.device)
    pairs = gram(rows) if _makes_pairs(rows, n) else None
    for step in range(n):
        pick = torch.where(residual > limit, residual, spanned).argmax(0, keepdim=True)
        left = residual[pick]
        row = pairs[pick][0] if pairs is not None else rows @ rows[pick][0]
        # a row that the picks span already takes nothing away from the others
        scale = torch.where(left > limit[pick], left.clamp(min=SMALLEST).rsqrt(), 0)
        factor[step] = (row - (factor[:step].T @ factor[:step, pick])[:, 0]) * scale
        residual.addcmul_(factor[step], factor[step], value=-1)
        picks[step : step + 1] = pick
        residual[pick], spanned[pick] = -torch.inf, -torch.inf
    return picks


def dpp_map_numpy(rows: torch.Tensor, n: int) -> torch.Tensor:
    """The same on a CPU, where numpy's calls take a fifth of torch's time on so few numbers."""
    pairs = gram(rows).numpy() if _makes_pairs(rows, n) else None
    own = torch.linalg.vecdot(rows, rows).numpy()
    residual, limit, spanned = own.copy(), SPANNED * own, -1 / (1 + own)
    factor = np.zeros((n, len(own)), dtype=np.float32)
    picks = np.empty(n, dtype=np.int64)
    for step in range(n):
        pick = int(np.where(residual > limit, residual, spanned).argmax())
        if residual[pick] > limit[pick]:
            row = pairs[pick] if pairs is not None else (rows @ rows[pick]).numpy()
            np.subtract(row, factor[:step, pick] @ factor[:step], out=factor[step])
            factor[step] /= np.sqrt(residual[pick])
            residual -= factor[step] * factor[step]
        picks[step], residual[pick], spanned[pick] = pick, -np.inf, -np.inf
    return torch.from_numpy(picks)


def _makes_pairs(rows: torch.Tensor, n: int) -> bool:
    return len(rows) <= min(PAIRS_PER_PICK * n, MAX_PAIRS**0.5)


def _strength(quality: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Qualities [B, N] in float32, scaled so that a set's largest is 1: picks do not change, rounding does."""
    check_sets("quality", quality[..., None], sizes)
    strength = quality.to(torch.promote_types(quality.dtype, torch.float32))
    if min(sizes, default=0) < quality.shape[1]:
        strength = strength.masked_fill(~inside(sizes, quality), 0)
    if not strength.numel():
        return strength.float()
    # a GPU would be waited for; there a negative quality counts as 0
    if not quality.is_cuda and (strength < 0).any():
        image, row = (int(index) for index in (strength < 0).nonzero()[0])
        raise ValueError(f"row {row} of set {image}: want a quality of at least 0, got {float(strength[image, row])}")
    strength = strength.clamp(min=0)
    largest = strength.amax(-1, keepdim=True)
    return (strength / largest.masked_fill(largest == 0, 1)).float()


def _picks_triton(rows: torch.Tensor, strength: torch.Tensor, counts: list[int], sizes: list[int]) -> torch.Tensor:
    device, (images, n_rows), n_max = rows.device, rows.shape[:2], max(counts)
    dots, own = gram_triton(rows)
    factor = torch.empty(images, n_max, n_rows, dtype=torch.float32, device=device)
    picks = torch.full((images, n_max), -1, dtype=torch.int64, device=device)
    block = next_power_of_2(n_rows)
    # as many rows at a time as registers hold, of which old GPUs need more
    past = (
        16 if block <= 1024 else 8 if block <= 4096 and limits(rows).capability > (8, 0) else 4 if block <= 4096 else 2
    )
    _dpp_kernel[(images,)](
        dots, own, strength, on_device(sizes, device), on_device(counts, device), factor, picks, n_rows, n_max,
        SPANNED=SPANNED, BLOCK=block, PAST=past, num_warps=8 if block <= 2048 else 16 if block <= 4096 else 32,
    )  # fmt: skip
    return picks


@jit
def _dpp_kernel(  # type: ignore[no-untyped-def]
    dots, own, strength, sizes, counts, factor, picks, n_rows, n_max,
    SPANNED: tl.constexpr, BLOCK: tl.constexpr, PAST: tl.constexpr,
):  # fmt: skip
    """All picks of one set in one program; the Cholesky rows so far stay in cache, read some at a time."""
    image = tl.program_id(0).to(tl.int64)
    columns, places = tl.arange(0, BLOCK), tl.arange(0, PAST)
    inside = columns < tl.load(sizes + image)
    dots += image * n_rows * n_rows
    own += image * n_rows
    strength += image * n_rows
    factor += image * n_max * n_rows
    norms = tl.load(own + columns, mask=inside, other=0.0)
    scales = tl.load(strength + columns, mask=inside, other=0.0) / tl.sqrt(tl.maximum(norms, 1.2e-38))
    residual = norms * scales * scales
    # a norm below 0 marks who is out of the race
    norms = tl.where(inside, residual, -1.0)
    for step in range(0, tl.load(counts + image)):
        key = tl.where(residual > SPANNED * norms, residual, -1.0 / (1.0 + tl.maximum(norms, 0.0)))
        # rows that are not finite, which are told of later, come last: a pick is a row of the set
        key = tl.where(key == key, key, -2.0)
        pick = tl.argmax(tl.where(norms < 0, float("-inf"), key), axis=0).to(tl.int64)
        tl.store(picks + image * n_max + step, pick)
        norms = tl.where(columns == pick, -1.0, norms)
        norm = tl.load(own + pick)
        scale = tl.load(strength + pick) / tl.sqrt(tl.maximum(norm, 1.2e-38))
        # made anew in each step: registers are for the rows below
        scales = tl.load(strength + columns, mask=inside, other=0.0)
        scales = scales / tl.sqrt(tl.maximum(tl.load(own + columns, mask=inside, other=0.0), 1.2e-38))
        new = tl.load(dots + pick * n_rows + columns, mask=inside, other=0.0) * scales * scale
        # what other threads of this program stored in earlier steps is read below
        tl.debug_barrier()
        for first in range(0, step, PAST):
            past = first + places
            weights = tl.load(factor + past * n_rows + pick, mask=past < step, other=0.0)
            rows = tl.load(
                factor + past[:, None] * n_rows + columns[None, :], mask=(past < step)[:, None] & inside[None, :],
                other=0.0,
            )  # fmt: skip
            new -= tl.sum(weights[:, None] * rows, 0)
        left = tl.sum(tl.where(columns == pick, residual, 0.0), axis=0)
        floor = SPANNED * norm * scale * scale
        shrink = tl.where(left > floor, 1.0 / tl.sqrt(tl.maximum(left, tl.maximum(floor, 1.2e-38))), 0.0)
        new = new * shrink
        tl.store(factor + step * n_rows + columns, new, mask=inside)
        residual -= new * new
