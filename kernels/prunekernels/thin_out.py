"""Rows that are left when the most similar ones go in rounds: VisPruner's removal of duplicates (arXiv:2412.01818).

    A = the rows left at even places, B = those at odd ones;      s(a) = max_{b in B} cos(a, b)

In each round the `per_round` of A with the largest s go, the lower one in a tie, until n are left. Places are counted
anew in each round, so that halves change sides.

As printed a round is a product of half of the rows with the other half, N^3 D / 48 FLOP a round of one in all: 20 TFLOP
for 10,000 rows of 896 numbers by eights. On a CPU each row has a list of those that are most like it, N^2 D FLOP once,
of which a round looks for the first that is at an odd place; a list that has run out is made anew. On a GPU, which
would be waited for, rounds are products.
"""

from __future__ import annotations

import operator

import numpy as np
import numpy.typing as npt
import torch

from prunekernels import _ops, select
from prunekernels._precision import full_precision
from prunekernels._unit import check_rows, unit_rows

# rows on a list, and cosines held at a time while lists are made (16 MiB)
LISTED, MAX_PAIRS = 32, 2048**2
# where so small a share of the rows is left, those alone are compared with
SHRUNK = 0.8

Places = npt.NDArray[np.int64]
Cosines = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def thin_out(features: torch.Tensor, n: int, per_round: int = 8) -> torch.Tensor:
    """The `n` rows of `features` [N, D] that are left; int64 [n], ascending.

    Raises ValueError for other shapes, n outside [0, N], fewer than 1 a round, and NaN or infinity, with the row named
    (on a GPU later: `_finite`).
    """
    if features.ndim != 2 or not features.is_floating_point():
        raise ValueError(f"want floating-point features [N, D], got {[*features.shape]} {features.dtype}")
    n, per_round = operator.index(n), operator.index(per_round)
    if not 0 <= n <= len(features) or per_round < 1:
        raise ValueError(f"want n in [0, {len(features)}] and at least 1 a round, got {n} and {per_round}")
    return _thin_out(features.detach(), n, per_round)


def _empty(features: torch.Tensor, n: int, per_round: int) -> torch.Tensor:
    return features.new_empty(n, dtype=torch.int64)


@_ops.operator(_empty)
@full_precision
def _thin_out(features: torch.Tensor, n: int, per_round: int) -> torch.Tensor:
    check_rows("features", features)
    return (thin_out_numpy if features.is_cpu else thin_out_torch)(unit_rows(features), n, per_round)


def thin_out_torch(unit: torch.Tensor, n: int, per_round: int) -> torch.Tensor:
    """Reference: the rounds as printed, `unit` [N, D] being rows of length 1. Never waits."""
    left = torch.arange(len(unit), device=unit.device)
    while (surplus := len(left) - n) > 0:
        first, second = left[::2], left[1::2]
        # a single row has none to be similar to
        similar = (unit[first] @ unit[second].T).amax(1) if len(second) else unit.new_zeros(1)
        n_gone = min(per_round, surplus, len(first))
        # of A those that stay, and all of B
        stays = torch.ones(len(left), dtype=torch.bool, device=left.device)
        stays[2 * select.top(similar, n_gone)] = False
        left = left[stays.byte().sort(descending=True, stable=True).indices[: len(left) - n_gone]]
    return left


def thin_out_numpy(unit: torch.Tensor, n: int, per_round: int) -> torch.Tensor:
    """The same on a CPU, from lists of the most similar rows."""
    left = np.arange(len(unit))
    is_left, is_odd = np.ones(len(unit), dtype=bool), left % 2 == 1
    if n < len(unit):
        near, cosine = np.empty((len(unit), LISTED), dtype=np.int64), np.empty((len(unit), LISTED), dtype=np.float32)
        rows, columns = left, unit
        near[:], cosine[:], _ = _compared(unit, left, rows, columns, (is_left, is_odd))
    while (surplus := len(left) - n) > 0:
        first, second = left[::2], left[1::2]
        is_odd[first], is_odd[second] = False, True
        hits = is_odd[near[first]]
        place = hits.argmax(1)
        each = np.arange(len(first))
        similar = cosine[first, place]
        lacks = ~hits[each, place]
        if lacks.any():
            if len(left) < SHRUNK * len(rows):
                rows, columns = left, unit[left]
            some = first[lacks]
            near[some], cosine[some], similar[lacks] = _compared(unit, some, rows, columns, (is_left, is_odd))
        stays = np.ones(len(left), dtype=bool)
        stays[2 * _top(similar, min(per_round, surplus, len(first)))] = False
        is_left[left[~stays]], is_odd[left[~stays]] = False, False
        left = left[stays]
    return torch.from_numpy(left)


def _compared(
    unit: torch.Tensor, some: Places, rows: Places, columns: torch.Tensor, now: tuple[Bools, Bools]
) -> tuple[Places, Cosines, Cosines]:
    """Lists of `some` rows, [R, K] rows that are left and their cosines, the largest first; the largest at odd places.

    `columns` [C, D] are those of `rows` [C], among which all are that are left; `now` says of all rows which are left
    and which of those stand at odd places. A row is on no list of its own: where others are too few it fills up.
    """
    is_left, is_odd = (torch.from_numpy(own[rows]) for own in now)
    near, cosine = np.empty((len(some), LISTED), dtype=np.int64), np.empty((len(some), LISTED), dtype=np.float32)
    largest = np.empty(len(some), dtype=np.float32)
    k, height = min(LISTED, len(rows)), max(1, MAX_PAIRS // len(rows))
    for start in range(0, len(some), height):
        block = slice(start, start + height)
        cosines = unit[some[block]] @ columns.T
        # of a row alone, which has none to be similar to, what is left is 0
        largest[block] = cosines.masked_fill(~is_odd, -torch.inf).amax(1).numpy() if is_odd.any() else 0
        cosines.masked_fill_(~is_left, -torch.inf)
        cosines[torch.arange(len(cosines), device="cpu"), np.searchsorted(rows, some[block])] = -torch.inf
        best = cosines.topk(k, dim=1)
        near[block, :k], near[block, k:] = rows[best.indices.numpy()], some[block, None]
        cosine[block, :k], cosine[block, k:] = best.values.numpy(), -np.inf
    return near, cosine, largest


def _top(values: Cosines, n: int) -> Places:
    """The places of the `n` largest, of equal ones the lower place; in no order."""
    last = np.partition(values, len(values) - n)[len(values) - n]
    above, ties = np.flatnonzero(values > last), np.flatnonzero(values == last)
    return np.concatenate([above, ties[: n - len(above)]])
