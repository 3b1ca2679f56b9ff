"""Facility location by lazy greedy (Minoux 1978): rows that stand in for all the others.

    f(S) = sum_i max_{j in S} (1 + cos(x_i, x_j)) / 2          pick_t = argmax_j f(S + j) - f(S)

The shift makes f non-negative, monotone and submodular, so that greedy reaches 1 - 1/e of the best value; it
changes no pick. Gains can only shrink, so that an old gain bounds the new one from above, and only rows whose
bound is still on top are evaluated again. First bounds are exact in O(N D): (N + x_j . sum_i x_i) / 2.

Torch only. An evaluation is a product of 2 N D FLOP, the library's own, and one pass over its N numbers: at
D = 384 a kernel could save that pass, 4 bytes for 768 FLOP, and not the steps' waiting for each other. Counted
on 20,000 x 384, n = 1,000: lazy makes 1 to 3 % of plain greedy's evaluations, 80 to 130 in a call.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

import numpy as np
import torch

from prunekernels import _ops
from prunekernels._gram import gram
from prunekernels._precision import full_precision
from prunekernels._unit import check_rows, unit_rows

# gains that differ by less are equal: two rows that are each other's nearest tie exactly, but for the rounding
TIE = 1e-6

# candidates evaluated at once, doubled while a step needs more
FIRST_BLOCK, LAST_BLOCK = 8, 512

# up to here the cosines of all pairs are kept (512 MiB); beyond, they are made 4 MiB at a time and forgotten
MAX_PAIRS, BLOCK_PAIRS = 2**27, 1024**2


class FacilityLocation(NamedTuple):
    """`picks` int64 [n], in the order of picking; `gains` float32 [n], what each one added, never increasing."""

    picks: torch.Tensor
    gains: torch.Tensor


def facility_location(features: torch.Tensor, n: int) -> FacilityLocation:
    """Pick `n` rows of `features` [N, D] that are close to all of them; the gains add up to f in [0, N].

    Picks are distinct, earlier ones are the picks for a smaller n, and gains equal to 1e-6 go to the lower index.
    Beyond 11,585 rows the memory beside the features is O(N). Raises ValueError for other shapes, n outside [0, N],
    and NaN or infinity, with the row named.
    """
    if features.ndim != 2 or not features.is_floating_point():
        raise ValueError(f"want floating-point features [N, D], got {[*features.shape]} {features.dtype}")
    n = operator.index(n)
    if not 0 <= n <= len(features):
        raise ValueError(f"want to pick between 0 and {len(features)} rows, got {n}")
    return FacilityLocation(*_facility_location(features.detach(), n))


def _empty(features: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return features.new_empty(n, dtype=torch.int64), features.new_empty(n, dtype=torch.float32)


@_ops.operator(_empty)
@full_precision
def _facility_location(features: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    check_rows("features", features)
    unit = unit_rows(features)
    pairs = gram(unit) if len(unit) ** 2 <= MAX_PAIRS else None
    if unit.is_cuda and pairs is not None:
        return _greedy(pairs, n)
    # a little above the exact first gains, so that rounding never hides the best one
    bounds = (len(unit) + (unit @ unit.sum(0)).double().cpu()) / 2 * (1 + 1e-5)
    covered = torch.full((len(unit),), -1.0, dtype=torch.float32, device=unit.device)
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(n):
        pick = _best(unit, pairs, covered, bounds, len(picks))
        picks.append(pick)
        gains.append(min(float(bounds[pick]), gains[-1] if gains else torch.inf))
        bounds[pick] = -torch.inf
        covered = torch.maximum(covered, unit @ unit[pick] if pairs is None else pairs[pick])
    device = features.device
    found = torch.tensor(picks, dtype=torch.int64, device=device)
    return found, torch.tensor(gains, dtype=torch.float32, device=device)


def _greedy(pairs: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from the cosines of all `pairs` [N, N], every gain made in every step: a GPU is never waited for."""
    covered = torch.full_like(pairs[0], -1.0)
    picks = torch.empty(n, dtype=torch.int64, device=pairs.device)
    gains = torch.empty(n, dtype=torch.float32, device=pairs.device)
    is_picked = torch.zeros_like(covered, dtype=torch.bool)
    for step in range(n):
        gain = (pairs - covered).relu_().sum(1, dtype=torch.float64).div_(2).masked_fill_(is_picked, -torch.inf)
        top = gain.amax(0, keepdim=True)
        pick = (gain >= top - TIE * (1 + top)).byte().argmax(0, keepdim=True)
        picks[step : step + 1] = pick
        gains[step : step + 1] = gain[pick]
        is_picked.index_fill_(0, pick, True)
        covered = torch.maximum(covered, pairs.index_select(0, pick)[0])
    return picks, gains.cummin(0).values if n else gains


def _best(
    unit: torch.Tensor, pairs: torch.Tensor | None, covered: torch.Tensor, bounds: torch.Tensor, n_picked: int
) -> int:
    """The row with the largest gain; `bounds`, on the CPU, of the rows that had to be evaluated become their gains."""
    # on numpy's view of the same memory, whose calls take a fifth of torch's time on so few numbers
    values = bounds.numpy()
    is_stale = values > -np.inf
    block, n_stale = FIRST_BLOCK, len(unit) - n_picked
    while True:
        top = int(values.argmax())
        pick = int((values >= values[top] - TIE * (1 + values[top])).argmax())
        if not (is_stale[top] or is_stale[pick]):
            return pick
        n_rows = min(block, n_stale)
        rows = np.argpartition(np.where(is_stale, values, -np.inf), -n_rows)[-n_rows:]
        values[rows] = np.minimum(values[rows], _gains(unit, pairs, covered, torch.from_numpy(rows)).cpu().numpy())
        is_stale[rows] = False
        n_stale -= n_rows
        block = min(2 * block, LAST_BLOCK)


def _gains(unit: torch.Tensor, pairs: torch.Tensor | None, covered: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """What each of `rows` would add to f, from the cosines of all `pairs` or block by block: float64."""
    if pairs is not None:
        above = np.maximum(pairs.numpy()[rows.numpy()] - covered.numpy(), 0)
        return torch.from_numpy(above.sum(1)).double() / 2
    candidates = unit[rows.to(unit.device)].T
    gains = torch.zeros(len(rows), dtype=torch.float64, device=unit.device)
    height = max(1, BLOCK_PAIRS // len(rows))
    for first in range(0, len(unit), height):
        above = torch.addmm(-covered[first : first + height, None], unit[first : first + height], candidates)
        gains += above.relu_().sum(0)
    return gains / 2
