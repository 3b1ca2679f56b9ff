"""Counts from ratios, and counts shared out over groups: the two places where rounding is decided.

`allocate` is the Euclidean projection of the weighted target onto {x : sum x = total, lower <= x <= sizes},
rounded by largest remainder. The projection is x = clip(target - shift, lower, sizes); its sum falls as the
shift grows, piecewise linearly, so that the shift is found exactly between two breakpoints. Torch only: for
K groups that is O(K log K), nothing beside any scorer.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import SupportsIndex

import torch

from prunekernels._counts import whole
from prunekernels._precision import full_precision


def n_keep(n: SupportsIndex, keep_ratio: float) -> int:
    """How many of `n` items a `keep_ratio` in (0, 1] keeps: ceil(n * keep_ratio - 1e-9), at least 1 of any."""
    n = whole("a count", n)
    if n < 0:
        raise ValueError(f"want a count of at least 0, got {n}")
    check_keep_ratio(keep_ratio)
    return min(n, max(1, math.ceil(n * keep_ratio - 1e-9)))


def check_keep_ratio(keep_ratio: float) -> None:
    """Raise unless `keep_ratio` is a number in (0, 1]."""
    if isinstance(keep_ratio, bool) or not isinstance(keep_ratio, numbers.Real) or not 0 < keep_ratio <= 1:
        raise ValueError(f"keep_ratio is the fraction that is kept: want a number in (0, 1], got {keep_ratio!r}")


@full_precision
def allocate(
    total: SupportsIndex,
    sizes: Sequence[int] | torch.Tensor,
    weights: Sequence[float] | torch.Tensor | None = None,
    lower: Sequence[int] | torch.Tensor | None = None,
) -> torch.Tensor:
    """Share `total` over K groups; returns int64 [K] with sum `total` and `lower` <= x <= `sizes`.

    `weights` [K] (default: `sizes`) say how the total is wanted, in any unit; `lower` [K] defaults to 0. Ties of
    the remainders go to the lower index. Raises ValueError where no such counts exist.
    """
    total = whole("a total", total)
    upper = torch.as_tensor(sizes, dtype=torch.int64, device="cpu")
    floor = torch.zeros_like(upper) if lower is None else torch.as_tensor(lower, dtype=torch.int64, device="cpu")
    wanted = upper.double() if weights is None else torch.as_tensor(weights, dtype=torch.float64, device="cpu")
    _check(total, upper, wanted, floor)
    if not len(upper):
        return upper
    share = wanted / wanted.sum() if wanted.sum() > 0 else torch.full_like(wanted, 1 / len(wanted))
    exact = _project(total * share, total, floor.double(), upper.double())
    return _round(exact, total, upper)


def _check(total: int, upper: torch.Tensor, wanted: torch.Tensor, floor: torch.Tensor) -> None:
    if upper.ndim != 1 or wanted.shape != upper.shape or floor.shape != upper.shape:
        raise ValueError(
            f"want sizes, weights and lower of one length [K], got {[*upper.shape]}, {[*wanted.shape]} "
            f"and {[*floor.shape]}"
        )
    for name, bad in (("size", upper < 0), ("lower", (floor < 0) | (floor > upper))):
        if bad.any():
            group = int(bad.nonzero()[0])
            raise ValueError(f"{name} of group {group} wants 0 <= lower <= size, got {floor[group]}, {upper[group]}")
    if not (wanted.isfinite() & (wanted >= 0)).all():
        raise ValueError("want finite weights of at least 0")
    if not int(floor.sum()) <= total <= int(upper.sum()):
        raise ValueError(f"want a total between {int(floor.sum())} and {int(upper.sum())}, got {total}")


def _project(target: torch.Tensor, total: int, floor: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """x = clip(target - shift, floor, upper) for the shift at which x sums to `total`."""
    if ((floor <= target) & (target <= upper)).all():
        return target
    # at these shifts an entry starts or stops to move; between two of them the sum is linear in the shift
    knots = torch.cat([target - upper, target - floor]).unique()
    low, high = 0, len(knots) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if (target - knots[middle]).clamp(floor, upper).sum() >= total:
            low = middle
        else:
            high = middle
    above = (target - knots[low]).clamp(floor, upper).sum()
    below = (target - knots[high]).clamp(floor, upper).sum()
    fraction = (above - total) / (above - below) if above > below else torch.zeros_like(above)
    return (target - (knots[low] + fraction * (knots[high] - knots[low]))).clamp(floor, upper)


def _round(exact: torch.Tensor, total: int, upper: torch.Tensor) -> torch.Tensor:
    """Largest remainder: floor everything, then one more to those that lost most, lower indices first."""
    counts = exact.floor().long()
    while (missing := total - int(counts.sum())) > 0:
        loss = torch.where(counts < upper, exact - counts, -torch.inf)
        order = loss.sort(descending=True, stable=True).indices
        counts[order[: min(missing, int((counts < upper).sum()))]] += 1
    return counts
