"""Gram matrices of sets of rows in float32, for what picks from all pairs of a set.

A product of two bfloat16 or float16 numbers is exact in float32. On a GPU rows of halves therefore stay what they
are, but for a power of two, and its fast units multiply them. Each set is made by itself, in one order of additions,
so that its bits do not hang on the batch it stands in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prunekernels._backend import is_interpreting, jit, limits
from prunekernels._unit import safe_rows

if TYPE_CHECKING:
    import triton.language as tl

# rows of a product that is not worth cutting any more
LEAF = 96

# tiles of the kernel, and the part of a row that it reads at once
TILE, DEPTH = 64, 64


def unit_gram(values: torch.Tensor) -> torch.Tensor:
    """Cosines of finite `values` [N, D] to each other, float32 [N, N]; a zero row has 0 to all and to itself."""
    # lengths are divided out of the products: a copy of the rows costs more than two passes over their pairs
    dots = gram(safe_rows(values))
    scale = dots.diagonal().clamp(min=torch.finfo(torch.float32).tiny).rsqrt()
    return dots.mul_(scale).mul_(scale[:, None])


def gram(rows: torch.Tensor) -> torch.Tensor:
    """Dot products of `rows` [N, D] float32 with each other; a CPU makes one half of them and mirrors it."""
    if rows.device.type != "cpu":
        return rows @ rows.T
    # the library's bits hang on where in memory a matrix starts and on its strides
    rows = rows.contiguous()
    rows = rows if rows.data_ptr() % 64 == 0 else rows.clone()
    dots = rows.new_empty(len(rows), len(rows))
    _fill(rows, dots)
    return dots


def _fill(rows: torch.Tensor, dots: torch.Tensor) -> None:
    """One square below the diagonal, its mirror above, and the two halves of the diagonal by themselves."""
    if len(rows) <= LEAF:
        torch.mm(rows, rows.T, out=dots)
        return
    half = len(rows) // 32 * 16
    torch.mm(rows[half:], rows[:half].T, out=dots[half:, :half])
    dots[:half, half:] = dots[half:, :half].T
    _fill(rows[:half], dots[:half, :half])
    _fill(rows[half:], dots[half:, half:])


def gram_triton(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Dot products of `rows` [B, N, D] with each other, float32 [B, N, N], and the diagonal, each row scaled first.

    The scale, a power of two, brings a row's largest entry to [1, 2), so that no product overflows and few fade.
    """
    rows = (rows.float() if rows.dtype == torch.float64 else rows).contiguous()
    images, n_rows, n_dims = rows.shape
    # the interpreter's dot multiplies the bits of a bfloat16 as if they were a whole number
    scaled = torch.empty_like(rows, dtype=torch.float32 if is_interpreting() else rows.dtype)
    _scale_kernel[(images * n_rows,)](rows, scaled, n_dims, BLOCK=1024)
    return plain_gram_triton(scaled)


def plain_gram_triton(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for rows as they are."""
    rows = rows.contiguous()
    images, n_rows, n_dims = rows.shape
    dots = torch.empty(images, n_rows, n_rows, dtype=torch.float32, device=rows.device)
    own = torch.empty(images, n_rows, dtype=torch.float32, device=rows.device)
    tiles = -(-n_rows // TILE)
    # units for halves came with compute capability 8.0
    has_units = rows.dtype.itemsize == 2 and limits(rows).capability >= (8, 0)
    _gram_kernel[(images * tiles * (tiles + 1) // 2,)](
        rows, dots, own, n_rows, n_dims, tiles * (tiles + 1) // 2,
        TILE=TILE, DEPTH=DEPTH if has_units else DEPTH // 2, num_warps=4 if has_units else 8,
    )  # fmt: skip
    return dots, own


@jit
def _scale_kernel(rows, scaled, n_dims, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    start = tl.program_id(0).to(tl.int64) * n_dims
    peak = tl.zeros([BLOCK], tl.float32)
    for first in range(0, n_dims, BLOCK):
        dim = first + tl.arange(0, BLOCK)
        values = tl.load(rows + start + dim, mask=dim < n_dims, other=0.0).to(tl.float32)
        peak = tl.maximum(peak, tl.abs(values))
    # 2 to the power of 127 minus the biased exponent, itself no smaller than the smallest normal number
    exponent = tl.max(peak, 0).to(tl.int32, bitcast=True) >> 23
    factor = (tl.maximum(254 - exponent, 1) << 23).to(tl.float32, bitcast=True)
    for first in range(0, n_dims, BLOCK):
        dim = first + tl.arange(0, BLOCK)
        values = tl.load(rows + start + dim, mask=dim < n_dims, other=0.0).to(tl.float32)
        tl.store(scaled + start + dim, values * factor, mask=dim < n_dims)


@jit
def _gram_kernel(  # type: ignore[no-untyped-def]
    rows, dots, own, n_rows, n_dims, n_tiles, TILE: tl.constexpr, DEPTH: tl.constexpr
):  # fmt: skip
    """One tile on or below the diagonal, and its mirror."""
    image, tile = tl.program_id(0).to(tl.int64) // n_tiles, tl.program_id(0) % n_tiles
    # tiles are counted row by row of the triangle; the root may be one off
    down = ((tl.sqrt(8.0 * tile + 1.0) - 1.0) * 0.5).to(tl.int32)
    down = tl.where((down + 1) * (down + 2) // 2 <= tile, down + 1, down)
    down = tl.where(down * (down + 1) // 2 > tile, down - 1, down)
    row = down * TILE + tl.arange(0, TILE)
    column = (tile - down * (down + 1) // 2) * TILE + tl.arange(0, TILE)
    rows += image * n_rows * n_dims
    own += image * n_rows
    dots += image * n_rows * n_rows
    total = tl.zeros([TILE, TILE], tl.float32)
    for first in range(0, n_dims, DEPTH):
        dim = first + tl.arange(0, DEPTH)
        left = tl.load(
            rows + row.to(tl.int64)[:, None] * n_dims + dim[None, :],
            mask=(row < n_rows)[:, None] & (dim < n_dims)[None, :], other=0.0,
        )  # fmt: skip
        right = tl.load(
            rows + column.to(tl.int64)[None, :] * n_dims + dim[:, None],
            mask=(column < n_rows)[None, :] & (dim < n_dims)[:, None], other=0.0,
        )  # fmt: skip
        total = tl.dot(left, right, total, input_precision="ieee")
    is_pair = (row < n_rows)[:, None] & (column < n_rows)[None, :]
    tl.store(dots + row.to(tl.int64)[:, None] * n_rows + column[None, :], total, mask=is_pair)
    # a tile on the diagonal is its own mirror
    is_own = is_pair & (row[:, None] == column[None, :])
    tl.store(own + row[:, None] + 0 * column[None, :], total, mask=is_own)
    is_below = is_pair & (row[:, None] > column[None, :])
    tl.store(dots + column.to(tl.int64)[None, :] * n_rows + row[:, None], total, mask=is_below)
