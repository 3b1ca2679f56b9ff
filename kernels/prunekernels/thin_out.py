"""Rows that are left when the most similar ones go in rounds: VisPruner's removal of duplicates (arXiv:2412.01818).

    A = the rows left at even places, B = those at odd ones;      s(a) = max_{b in B} cos(a, b)

In each round the `per_round` of A with the largest s go, the lower one in a tie, until n are left. Places are counted
anew in each round, so that halves change sides.

As printed a round is a product of half of the rows with the other half, N^3 D / 48 FLOP a round of one in all: 20 TFLOP
for 10,000 rows of 896 numbers by eights. On a CPU each row has a list of those that are most like it, N^2 D FLOP once,
of which a round looks for the first that is at an odd place; a list that has run out is made anew. On a GPU, which would
be waited for, rounds are products.
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

Places = npt.NDArray[np.int64]


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
    left, is_odd = np.arange(len(unit)), np.zeros(len(unit), dtype=bool)
    near, cosine = _lists(unit, left, left) if n < len(left) else (np.empty((0, 0)),) * 2
    while (surplus := len(left) - n) > 0:
        first, second = left[::2], left[1::2]
        is_odd[first], is_odd[second] = False, True
        hits = is_odd[near[first]]
        place = hits.argmax(1)
        row = np.arange(len(first))
        similar = cosine[first, place]
        lacking = first[~hits[row, place]]
        if len(lacking) and len(second):
            similar[~hits[row, place]] = _largest(unit, lacking, second)
            near[lacking], cosine[lacking] = _lists(unit, lacking, left)
        stays = np.ones(len(left), dtype=bool)
        stays[2 * _top(similar, min(per_round, surplus, len(first)))] = False
        is_odd[left[~stays]] = False
        left = left[stays]
    return torch.from_numpy(left)


def _lists(unit: torch.Tensor, rows: Places, left: Places) -> tuple[Places, npt.NDArray[np.float32]]:
    """For each of `rows` the rows among `left` that are most like it, itself not among them, and how much they are.

    [R, K] each, the most similar first; where there are fewer than K, the row itself fills up.
    """
    columns = unit[left]
    near = np.empty((len(rows), LISTED), dtype=np.int64)
    cosine = np.empty(near.shape, dtype=np.float32)
    k, height = min(LISTED, len(left)), max(1, MAX_PAIRS // len(left))
    for start in range(0, len(rows), height):
        some = rows[start : start + height]
        cosines = unit[some] @ columns.T
        cosines[torch.arange(len(some), device="cpu"), np.searchsorted(left, some)] = -torch.inf
        best = cosines.topk(k, dim=1)
        near[start : start + height, :k], near[start : start + height, k:] = left[best.indices.numpy()], some[:, None]
        cosine[start : start + height, :k], cosine[start : start + height, k:] = best.values.numpy(), -np.inf
    return near, cosine


def _largest(unit: torch.Tensor, rows: Places, others: Places) -> npt.NDArray[np.float32]:
    """The largest cosine of each of `rows` to one of `others`."""
    columns, height = unit[others].T, max(1, MAX_PAIRS // len(others))
    blocks = [(unit[rows[start : start + height]] @ columns).amax(1) for start in range(0, len(rows), height)]
    found: npt.NDArray[np.float32] = torch.cat(blocks).numpy()
    return found


def _top(values: npt.NDArray[np.float32], n: int) -> Places:
    """The places of the `n` largest, of equal ones the lower place; in no order."""
    last = np.partition(values, len(values) - n)[len(values) - n]
    above, ties = np.flatnonzero(values > last), np.flatnonzero(values == last)
    return np.concatenate([above, ties[: n - len(above)]])
