"""Farthest-point traversal of sets with too many rows for a matrix over all their pairs.

On a CPU in rounds, each of which skips most rows; on a GPU step by step, each a product with all rows: more work,
which a GPU has units for, and none of the host's decisions, each of which a GPU would be waited for.
"""

from __future__ import annotations

import torch

from prunekernels import _sets
from prunekernels._gram import gram

# rows that are compared with all others at once
CHUNK = 64


def steps(points: torch.Tensor, n: int, start: int) -> torch.Tensor:
    """`n` picks among `points` [N, D] by squared Euclidean distance, `start` -1 for the most isolated; never waits."""
    norms = torch.linalg.vecdot(points, points)
    picks = torch.empty(n, dtype=torch.int64, device=points.device)
    pick = (
        torch.full((1,), start, dtype=torch.int64, device=points.device)
        if start >= 0
        else _most_isolated(points, norms)
    )
    nearest = torch.full_like(norms, torch.inf)
    for step in range(n):
        picks[step : step + 1] = pick
        distance = _pairs(points, norms, points.index_select(0, pick), norms.index_select(0, pick))
        torch.minimum(nearest, distance[:, 0], out=nearest)
        nearest.index_fill_(0, pick, -torch.inf)
        pick = nearest.argmax(0, keepdim=True)
    return picks


def _most_isolated(points: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """The row whose nearest neighbour is farthest, int64 [1], all pairs taken."""
    nearest = []
    for rows in torch.arange(len(points), device=points.device).split(max(1, _sets.MAX_PAIRS // len(points))):
        distance = _pairs(points, norms, points[rows], norms[rows])
        own = torch.arange(len(rows), device=rows.device)
        distance[rows, own] = torch.inf
        nearest.append(distance.amin(0))
    return torch.cat(nearest).argmax(0, keepdim=True)


def rounds(points: torch.Tensor, n: int, start: int) -> torch.Tensor:
    """`n` picks among many `points` [N, D] by squared Euclidean distance, without all pairs; those of the walk over
    all pairs.

    A row's distance to the nearest pick only falls, so that what is known of it is an upper bound. In each round
    all rows learn the new picks in one product; then the rows on top, among themselves, are picked for as long as
    they stand above the bound of all others.
    """
    picks = torch.empty(n, dtype=torch.int64, device=points.device)
    norms = (points[:, None] @ points[..., None]).flatten()
    nearest = torch.full_like(norms, torch.inf)
    picks[0], known, count = _isolated(points, norms) if start < 0 else start, 0, 1
    while count < n:
        nearest = torch.minimum(nearest, _nearest_of(points, norms, picks[known:count]))
        nearest[picks[known:count]], known = -torch.inf, count
        front, limit, next_row = _front(nearest, max(CHUNK, min(16 * CHUNK, n)))
        bound, pairs = nearest[front], _squared(gram(points[front]))
        at = int(bound.argmax())
        while count < n:
            picks[count], count = front[at], count + 1
            torch.minimum(bound, pairs[at], out=bound)
            bound[at] = -torch.inf
            at = int(bound.argmax())
            # a row outside wins where its bound is larger, or is as large and its index lower
            if (-float(bound[at]), int(front[at])) > (-limit, next_row):
                break
    return picks


def _front(nearest: torch.Tensor, size: int) -> tuple[torch.Tensor, float, int]:
    """The `size` rows with the largest values, ascending; the largest value of the others, and the first with it."""
    order = nearest.argsort(descending=True, stable=True)
    front = order[:size].sort().values
    if len(order) <= size:
        return front, -torch.inf, len(order)
    return front, float(nearest[order[size]]), int(order[size])


def _nearest_of(points: torch.Tensor, norms: torch.Tensor, picks: torch.Tensor) -> torch.Tensor:
    """The squared distance of each row to the nearest of `picks`."""
    blocks = picks.split(max(1, _sets.MAX_PAIRS // len(points)))
    # a tall product is faster than a wide one
    each = [_pairs(points, norms, points[block], norms[block]).amin(1) for block in blocks]
    return torch.stack(each).amin(0)


def _isolated(points: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """The row whose nearest neighbour is farthest; rows that a chunk of others rules out are never looked at."""
    bound = torch.full_like(norms, torch.inf)
    nearest = torch.full_like(norms, -torch.inf)
    size = max(1, min(CHUNK, _sets.MAX_PAIRS // len(points)))
    while True:
        # equal rows stay in the race, for the lower index to win
        open_bound = bound.masked_fill(nearest > -torch.inf, -torch.inf)
        rows = open_bound.topk(min(size, len(points))).indices
        rows = rows[(open_bound[rows] >= nearest.max()) & (nearest[rows] == -torch.inf)]
        if not len(rows):
            return nearest.argmax()
        distance = _pairs(points, norms, points[rows], norms[rows])
        distance[rows, torch.arange(len(rows), device=rows.device)] = torch.inf
        nearest[rows] = distance.amin(0)
        bound = torch.minimum(bound, distance.amin(1))


def _squared(dots: torch.Tensor) -> torch.Tensor:
    """Squared distances from dot products, in their place."""
    norms = dots.diagonal().clone()
    return dots.mul_(-2).add_(norms).add_(norms[:, None]).clamp_(min=0)


def _pairs(rows: torch.Tensor, row_norms: torch.Tensor, points: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances of `rows` to `points`, with the norms given."""
    # few passes, in place: over all pairs a copy is as dear as a step
    return torch.addmm(norms, rows, points.mT, alpha=-2).add_(row_norms[:, None]).clamp_(min=0)
