"""Rows scaled to length 1 in float32, and the refusal of rows that hold NaN or infinity."""

from __future__ import annotations

import torch

# between these lengths the squares of float32 neither overflow nor fade; other rows are scaled first
SHORT, LONG = 1e-15, 1e18


def check_rows(name: str, values: torch.Tensor) -> None:
    """Raise ValueError where `values` [N, D] or [B, N, D] is not floating point, or a row of it is not finite."""
    if not values.is_floating_point():
        raise ValueError(f"want floating-point {name}, got {values.dtype}")
    # a row that is not finite has a length that is not finite, and so may have one of huge numbers
    wide = torch.promote_types(values.dtype, torch.float32)
    if torch.linalg.vector_norm(values, dim=-1, dtype=wide).isfinite().all():
        return
    bad = (~values.isfinite().all(-1)).nonzero()
    if len(bad):
        *image, row = bad[0].tolist()
        place = f"row {row} of set {image[0]}" if image else f"row {row}"
        raise ValueError(f"{place} of {name} has NaN or infinity")


def unit_rows(values: torch.Tensor) -> torch.Tensor:
    """`values` [..., D], all finite, with rows of length 1 in float32; a zero row stays zero: cosine 0 to all."""
    points = values.float()
    norms = torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    odd = ~((norms > SHORT) & (norms < LONG)).squeeze(-1)
    unit = points / norms
    if odd.any() and values.shape[-1]:
        rows = values[odd].double()
        rows /= rows.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        norms = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
        unit[odd] = (rows / norms.clamp(min=1)).float()
    return unit
