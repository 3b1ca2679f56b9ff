"""Gram matrices of sets of unit rows in float32, for what picks from all pairs of a set.

A product of two bfloat16 or float16 numbers is exact in float32. Rows of halves therefore stay what they are, but
for a power of two, and a GPU's fast units multiply them. Lengths are divided out of the products, not of the rows.
"""

from __future__ import annotations

import torch

from prunekernels._unit import LONG, SHORT, unit_rows

# columns of a product that is its own mirror
BLOCK = 64


def unit_gram(rows: torch.Tensor) -> torch.Tensor:
    """Cosines of finite `rows` [B, N, D] to each other, float32 [B, N, N]; a zero row has 0 to all and to itself."""
    if rows.dtype.itemsize <= 2:
        # the largest entry of each row comes to lie in [1/2, 1), so that no product overflows or fades
        exponents = torch.frexp(rows.float().abs().amax(-1, keepdim=True)).exponent
        gram = _halves(torch.ldexp(rows.float(), -exponents).to(rows.dtype))
    else:
        gram = plain_gram(rows.float())
        own = gram.diagonal(dim1=1, dim2=2)
        if not ((own > SHORT**2) & (own < LONG**2)).all():
            return plain_gram(unit_rows(rows))
    scale = gram.diagonal(dim1=1, dim2=2).clamp(min=torch.finfo(torch.float32).tiny).rsqrt()
    return gram.mul_(scale[:, None]).mul_(scale[:, :, None])


def plain_gram(rows: torch.Tensor) -> torch.Tensor:
    """Dot products of `rows` [B, N, D] with each other; a CPU makes one half of them and mirrors it."""
    if rows.device.type != "cpu":
        return rows @ rows.mT
    gram = rows.new_empty(*rows.shape[:2], rows.shape[1])
    for points, dots in zip(rows, gram, strict=True):
        for first in range(0, len(points), BLOCK):
            block = slice(first, first + BLOCK)
            # a tall product is faster than a wide one
            lower = points[first:] @ points[block].T
            dots[first:, block], dots[block, first:] = lower, lower.T
    return gram


def _halves(rows: torch.Tensor) -> torch.Tensor:
    # products with an output type of their own are a GPU's, and came with torch 2.8
    if rows.is_cuda and hasattr(torch.ops.aten.bmm, "dtype"):
        return torch.bmm(rows, rows.mT, out_dtype=torch.float32)
    return plain_gram(rows.float())
