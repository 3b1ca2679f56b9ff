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
from typing import TYPE_CHECKING

import torch

from prunekernels import _sets
from prunekernels._backend import Backend, jit, next_power_of_2, use_triton
from prunekernels._gram import plain_gram, unit_gram
from prunekernels._sets import Sets, as_sets, refuse_non_finite, stack
from prunekernels._unit import unit_rows

if TYPE_CHECKING:
    import triton.language as tl

SPANNED = 1e-5

# rows for each pick up to which the torch form makes all pairs: a product reads its rows once, a step each time
PAIRS_PER_PICK = 10


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
    strength = _strength(quality[None] if features.ndim == 2 else quality, sets)
    if use_triton(features, backend) and sets.fits_a_kernel():
        picks = _picks_triton(sets, unit_gram(sets.rows) * strength[:, None] * strength[..., None])
    else:
        rows = unit_rows(sets.rows) * strength[..., None]
        each = zip(rows, sets.sizes, sets.counts, strict=True)
        picks = stack([dpp_map_torch(row[:size], count) for row, size, count in each], rows.device)
    return picks[0] if features.ndim == 2 else picks


def dpp_map_torch(rows: torch.Tensor, n: int) -> torch.Tensor:
    """Reference: `n` picks for L = rows rows^T, `rows` [N, D] being directions times quality."""
    picks = torch.empty(n, dtype=torch.int64, device=rows.device)
    own = rows.square().sum(1)
    residual, limit = own.clone(), SPANNED * own
    # spanned rows compete below all others, ordered by quality between -1 and 0
    spanned = -1 / (1 + own)
    factor = rows.new_zeros(n, len(rows))
    # one product of all pairs beats a product with all rows a step, unless most pairs would never be read
    pairs = plain_gram(rows[None])[0] if len(rows) <= min(PAIRS_PER_PICK * n, _sets.MAX_PAIRS**0.5) else None
    for step in range(n):
        pick = int(torch.where(residual > limit, residual, spanned).argmax())
        left = float(residual[pick])
        if left > float(limit[pick]):
            own_row = rows @ rows[pick] if pairs is None else pairs[pick]
            torch.sub(own_row, factor[:step, pick] @ factor[:step], out=factor[step])
            factor[step] /= left**0.5
            residual.addcmul_(factor[step], factor[step], value=-1)
        picks[step], residual[pick], spanned[pick] = pick, -torch.inf, -torch.inf
    return picks


def _strength(quality: torch.Tensor, sets: Sets) -> torch.Tensor:
    """Qualities [B, N] in float32, scaled so that a set's largest is 1: picks do not change, rounding does."""
    refuse_non_finite(quality[..., None], sets.inside)
    strength = quality.float().masked_fill(~sets.inside, 0)
    if (strength < 0).any():
        image, row = (int(index) for index in (strength < 0).nonzero()[0])
        raise ValueError(f"row {row} of set {image}: want a quality of at least 0, got {float(strength[image, row])}")
    largest = strength.amax(-1, keepdim=True) if strength.shape[-1] else strength
    return strength / largest.masked_fill(largest == 0, 1)


def _picks_triton(sets: Sets, matrix: torch.Tensor) -> torch.Tensor:
    device, n_columns, n_max = matrix.device, matrix.shape[1], max(sets.counts)
    factor = torch.empty(len(matrix), n_max, n_columns, dtype=torch.float32, device=device)
    picks = torch.full((len(matrix), n_max), -1, dtype=torch.int64, device=device)
    block = next_power_of_2(n_columns)
    _dpp_kernel[(len(matrix),)](
        matrix, torch.tensor(sets.sizes, device=device), torch.tensor(sets.counts, device=device), factor, picks,
        n_columns, n_max, SPANNED=SPANNED, BLOCK=block, num_warps=4 if block <= 1024 else 8 if block <= 4096 else 16,
    )  # fmt: skip
    return picks


@jit
def _dpp_kernel(  # type: ignore[no-untyped-def]
    matrix, sizes, counts, factor, picks, n_columns, n_max, SPANNED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """All picks of one set in one program; the Cholesky rows so far stay in cache."""
    image = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < tl.load(sizes + image)
    matrix += image * n_columns * n_columns
    factor += image * n_max * n_columns
    own = tl.load(matrix + columns.to(tl.int64) * n_columns + columns, mask=inside, other=0.0)
    residual = own
    taken = ~inside
    for step in range(0, tl.load(counts + image)):
        key = tl.where(residual > SPANNED * own, residual, -1.0 / (1.0 + own))
        pick = tl.argmax(tl.where(taken, float("-inf"), key), axis=0).to(tl.int64)
        tl.store(picks + image * n_max + step, pick)
        taken = taken | (columns == pick)
        new = tl.load(matrix + pick * n_columns + columns, mask=inside, other=0.0)
        # what other threads of this program stored in earlier steps is read below
        tl.debug_barrier()
        for past in range(0, step):
            row = factor + past * n_columns
            new -= tl.load(row + pick) * tl.load(row + columns, mask=inside, other=0.0)
        own_pick = tl.load(matrix + pick * n_columns + pick)
        left = tl.sum(tl.where(columns == pick, residual, 0.0), axis=0)
        floor = SPANNED * own_pick
        scale = tl.where(left > floor, 1.0 / tl.sqrt(tl.maximum(left, tl.maximum(floor, 1e-38))), 0.0)
        new = new * scale
        tl.store(factor + step * n_columns + columns, new, mask=inside)
        residual -= new * new
