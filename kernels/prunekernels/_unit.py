"""Rows scaled to length 1 in float32, each by itself, and the refusal of rows that hold NaN or infinity."""

from __future__ import annotations

import torch

from prunekernels._finite import check_finite

# between these lengths the squares of float32 neither overflow nor fade; other rows are scaled first
SHORT, LONG = 1e-15, 1e18


def check_rows(name: str, values: torch.Tensor) -> None:
    """Raise ValueError where `values` [N, D] or [B, N, D] is not floating point, or a row of it is not finite."""
    if not values.is_floating_point():
        raise ValueError(f"want floating-point {name}, got {values.dtype}")
    check_finite(name, values)


def unit_rows(values: torch.Tensor) -> torch.Tensor:
    """`values` [..., D], all finite, with rows of length 1 in float32; a zero row stays zero: cosine 0 to all."""
    if values.device.type != "cpu":
        return _scaled(values)
    points, norms = _safe(values)
    return points / norms.clamp_(min=SHORT)[..., None]


def safe_rows(values: torch.Tensor) -> torch.Tensor:
    """`values` [..., D] of a CPU, all finite, in float32; where products would overflow or fade, a row has length 1."""
    return _safe(values)[0]


def _safe(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Those rows and their lengths."""
    points = values.float()
    norms = torch.linalg.vector_norm(points, dim=-1)
    low, high = map(float, norms.aminmax()) if norms.numel() else (1.0, 1.0)
    if low > SHORT and high < LONG:
        return points, norms
    odd = ~((norms > SHORT) & (norms < LONG))
    rows = values[odd]
    # a row of zeros is well as it is
    if rows.any():
        points = points.clone()
        points[odd] = _scaled(rows)
        norms = torch.linalg.vector_norm(points, dim=-1)
    return points, norms


def _scaled(values: torch.Tensor) -> torch.Tensor:
    """The same for rows of any length: divided by their largest entry first."""
    if not values.shape[-1]:
        return values.float()
    # float64 in between, where numbers below float32's smallest normal one keep their digits
    wide = values.to(torch.promote_types(values.dtype, torch.float64 if values.device.type == "cpu" else torch.float32))
    peaks = wide.abs().amax(-1, keepdim=True)
    wide = wide / peaks.masked_fill(peaks == 0, 1)
    norms = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return (wide / norms.clamp(min=1)).float()
