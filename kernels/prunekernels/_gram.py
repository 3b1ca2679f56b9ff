"""Gram matrices of sets of rows in float32, for what picks from all pairs of a set.

A product of two bfloat16 or float16 numbers is exact in float32. On a GPU rows of halves therefore stay what they
are, but for a power of two, and its fast units multiply them; lengths are divided out of the products, not of the
rows. Each set is made by itself, in one order of additions, so that its bits do not hang on the batch it stands in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prunekernels._backend import jit

if TYPE_CHECKING:
    import triton.language as tl

# rows of a product that is not worth cutting any more
LEAF = 128

# tiles of the kernel, and the part of a row that it reads at once
TILE, DEPTH = 64, 64


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


def gram_triton(rows: torch.Tensor) -> torch.Tensor:
    """Dot products of `rows` [B, N, D] with each other, float32 [B, N, N], each row first scaled by a power of two.

    The scale brings a row's largest entry to [1, 2), so that no product overflows and few fade.
    """
    rows = rows.contiguous() if rows.dtype != torch.float64 else rows.float().contiguous()
    images, n_rows, n_dims = rows.shape
    factors = torch.empty(images, n_rows, dtype=torch.float32, device=rows.device)
    dots = torch.empty(images, n_rows, n_rows, dtype=torch.float32, device=rows.device)
    block, tiles = 1024, -(-n_rows // TILE)
    _factor_kernel[(images * n_rows,)](rows, factors, n_dims, BLOCK=block, num_warps=4)
    _gram_kernel[(images * tiles * (tiles + 1) // 2,)](
        rows, factors, dots, n_rows, n_dims, TILE=TILE, DEPTH=DEPTH if rows.dtype.itemsize == 2 else DEPTH // 2,
        num_warps=4 if rows.dtype.itemsize == 2 else 8,
    )  # fmt: skip
    return dots
