"""For each row its largest cosine to an earlier row of its group: the near duplicates of SemDeDup.

    similarity_i = max_{j before i, group_j = group_i} cos(x_i, x_j)      neighbor_i = the j that attains it

SemDeDup (Abbas et al. 2023, arXiv:2303.09540) drops i where similarity_i > 1 - eps: one pass serves every eps.
Higher means more of a duplicate. Rows are sorted by group and order once and compared tile by tile, float32
whatever the input, never N x N. Floor: 2 D FLOP for each pair of a group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from prunekernels._backend import Backend, use_triton
from prunekernels._nearest import nearest_triton
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
    run = max_cosine_triton if use_triton(features, backend) else max_cosine_torch
    # stable sorts, the major key last: rows stand by group, then key, then index
    rows = torch.arange(len(features), device=features.device) if order is None else order.argsort(stable=True)
    ids = torch.zeros_like(rows) if groups is None else groups[rows]
    by_group = ids.argsort(stable=True)
    rows, sizes = rows[by_group], ids[by_group].unique_consecutive(return_counts=True)[1]
    # a group of one has nothing to compare
    rows, sizes = rows[(sizes > 1).repeat_interleave(sizes)], sizes[sizes > 1]
    similarity = torch.full((len(features),), -1.0, device=features.device)
    neighbor = torch.full((len(features),), -1, device=features.device)
    if len(rows):
        best, place = run(features, rows, sizes)
        has_earlier = place != -1
        rows_with = rows[has_earlier]
        similarity[rows_with] = best[has_earlier].clamp(-1, 1)
        neighbor[rows_with] = rows[place[has_earlier]]
    return MaxCosine(similarity, neighbor)


def max_cosine_torch(
    features: torch.Tensor, rows: torch.Tensor, sizes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reference: of the sorted `rows`, groups of about one size at a time; returns places in `rows`."""
    best = torch.full((len(rows),), -torch.inf, device=rows.device)
    place = torch.full((len(rows),), -1, device=rows.device)
    starts = sizes.cumsum(0) - sizes
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
    features: torch.Tensor, rows: torch.Tensor, sizes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One launch over the sorted rows: the columns of a row run from its group's start to the row itself."""
    unit = unit_rows(features[rows])
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return nearest_triton(unit, unit, starts, torch.arange(len(rows), device=rows.device))


def _check(features: torch.Tensor, order: torch.Tensor | None, groups: torch.Tensor | None) -> None:
    if features.ndim != 2:
        raise ValueError(f"want features [N, D], got {[*features.shape]}")
    for name, keys in (("order", order), ("groups", groups)):
        if keys is not None and keys.shape != features.shape[:1]:
            raise ValueError(f"want {name} [{len(features)}], got {[*keys.shape]}")
    if groups is not None and groups.dtype != torch.int64:
        raise ValueError(f"want groups as int64, got {groups.dtype}")
    if order is not None and order.isnan().any():
        raise ValueError(f"order {int(order.isnan().nonzero()[0])} is NaN")
    check_rows("features", features)
