"""For each row its largest cosine to an earlier row of its group: the near duplicates of SemDeDup.

    similarity_i = max_{j before i, group_j = group_i} cos(x_i, x_j)      neighbor_i = the j that attains it

SemDeDup (Abbas et al. 2023, arXiv:2303.09540) drops i where similarity_i > 1 - eps: one pass serves every eps.
Higher means more of a duplicate. Rows are sorted by group and order once and compared tile by tile, float32
whatever the input, never N x N. Floor: 2 D FLOP for each pair of a group.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch

from prunekernels import _ops
from prunekernels._backend import Backend, use_triton
from prunekernels._finite import check_finite
from prunekernels._nearest import nearest_triton
from prunekernels._precision import full_precision
from prunekernels._unit import check_rows, unit_rows

# rows of a tile of a large group, and rows of small groups that are compared in one batched product
TILE, ROWS = 1024, 4096


class MaxCosine(NamedTuple):
    """`similarity` float32 [N] in [-1, 1]; `neighbor` int64 [N]. Both -1 for the first row of a group."""

    similarity: torch.Tensor
    neighbor: torch.Tensor


def max_cosine(
    features: torch.Tensor,
    order: torch.Tensor | None = None,
    groups: torch.Tensor | None = None,
    *,
    backend: Backend = "auto",
) -> MaxCosine:
    """Compare each row of `features` [N, D] with the rows before it in its group.

    `order` [N] holds one key for each row (a rank, a distance), smaller first, the lower row first in a tie; by
    default rows stand in their order. `groups` [N] holds int64 ids, any values; by default all are one group.
    Of equally similar rows the first is named. A zero row has cosine 0 to all. Raises ValueError for other
    shapes, a key that is NaN, and NaN or infinity in the features, with the row named.
    """
    _check(features, order, groups)
    keys = None if order is None else order.detach()
    return MaxCosine(*_max_cosine(features.detach(), keys, groups, backend))


def _empty(
    features: torch.Tensor, order: torch.Tensor | None, groups: torch.Tensor | None, backend: str
) -> tuple[torch.Tensor, torch.Tensor]:
    n = len(features)
    return features.new_empty(n, dtype=torch.float32), features.new_empty(n, dtype=torch.int64)


@_ops.operator(_empty)
@full_precision
def _max_cosine(
    features: torch.Tensor, order: torch.Tensor | None, groups: torch.Tensor | None, backend: str
) -> tuple[torch.Tensor, torch.Tensor]:
    check_rows("features", features)
    if order is not None and order.is_floating_point():
        _check_keys(order)
    device = features.device
    # stable sorts, the major key last: rows stand by group, then key, then index
    rows = torch.arange(len(features), device=device) if order is None else order.argsort(stable=True)
    ids = torch.zeros_like(rows) if groups is None else groups[rows]
    by_group = ids.argsort(stable=True)
    rows, ids = rows[by_group], ids[by_group]
    similarity = torch.full((len(features),), -1.0, dtype=torch.float32, device=device)
    neighbor = torch.full((len(features),), -1, dtype=torch.int64, device=device)
    if not len(rows):
        return similarity, neighbor
    best, place = (max_cosine_triton if use_triton(features, cast(Backend, backend)) else max_cosine_torch)(
        features, rows, ids
    )
    # the first row of a group has place -1
    similarity[rows] = torch.where(place < 0, -1.0, best.clamp(-1, 1))
    neighbor[rows] = torch.where(place < 0, -1, rows[place])
    return similarity, neighbor


def max_cosine_torch(
    features: torch.Tensor, rows: torch.Tensor, ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reference: of the `rows` sorted by `ids`, groups of about one size at a time; returns places in `rows`."""
    best = torch.full((len(rows),), -torch.inf, dtype=torch.float32, device=rows.device)
    place = torch.full((len(rows),), -1, dtype=torch.int64, device=rows.device)
    sizes = ids.unique_consecutive(return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    # a group of one has nothing to compare
    starts, sizes = starts[sizes > 1], sizes[sizes > 1]
    by_size = sizes.argsort(descending=True, stable=True)
    widths, first = sizes[by_size].tolist(), 0
    while first < len(widths):
        # groups are filled up to the largest of them with the rows behind them, which come too late to count
        groups = by_size[first : first + max(1, ROWS // widths[first])]
        at = torch.arange(widths[first], device=rows.device)
        index = starts[groups, None] + at
        unit = unit_rows(features.index_select(0, rows[index.clamp(max=len(rows) - 1).flatten()]))
        top, where = _compare(unit.view(*index.shape, -1))
        inside = (at < sizes[groups, None]) & (where >= 0)
        best[index[inside]] = top[inside]
        place[index[inside]] = (where + starts[groups, None])[inside]
        first += len(groups)
    return best, place


def _compare(unit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row of `unit` [G, S, D] against those before it: the lower triangle, tile by tile."""
    best, place = [], []
    for row in range(0, unit.shape[1], TILE):
        tile = unit[:, row : row + TILE]
        at = torch.arange(tile.shape[1], device=unit.device)
        top, where = (tile @ tile.mT).masked_fill_(at >= at[:, None], -torch.inf).max(-1)
        where = torch.where(top > -torch.inf, where + row, -1)
        for column in reversed(range(0, row, TILE)):
            cosines = tile @ unit[:, column : column + TILE].mT
            peak = cosines.amax(-1)
            # an argmax costs ten times a maximum: it is taken where it is needed; >= for the first of equals
            better = peak >= top
            top[better] = peak[better]
            where[better] = cosines[better].argmax(-1) + column
        best.append(top)
        place.append(where)
    return torch.cat(best, 1), torch.cat(place, 1)


def max_cosine_triton(
    features: torch.Tensor, rows: torch.Tensor, ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One launch over the sorted rows: the columns of a row run from its group's start to the row itself."""
    unit = unit_rows(features[rows])
    places = torch.arange(len(rows), device=rows.device)
    is_start = torch.ones_like(ids, dtype=torch.bool)
    is_start[1:] = ids[1:] != ids[:-1]
    starts = torch.where(is_start, places, 0).cummax(0).values
    return nearest_triton(unit, unit, starts, places)


def _check(features: torch.Tensor, order: torch.Tensor | None, groups: torch.Tensor | None) -> None:
    if features.ndim != 2:
        raise ValueError(f"want features [N, D], got {[*features.shape]}")
    for name, keys in (("order", order), ("groups", groups)):
        if keys is not None and keys.shape != features.shape[:1]:
            raise ValueError(f"want {name} [{len(features)}], got {[*keys.shape]}")
    if groups is not None and groups.dtype != torch.int64:
        raise ValueError(f"want groups as int64, got {groups.dtype}")
    if not features.is_floating_point():
        raise ValueError(f"want floating-point features, got {features.dtype}")


def _check_keys(order: torch.Tensor) -> None:
    """Raise for a key that is NaN; on a GPU later."""
    if order.is_cuda:
        check_finite("order", torch.where(order.isnan(), torch.nan, 0.0)[:, None])
    elif order.isnan().any():
        raise ValueError(f"order {int(order.isnan().nonzero()[0])} is NaN")
