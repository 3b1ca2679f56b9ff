"""Farthest-point traversal of sets with too many rows for a matrix over all their pairs.

On a CPU in rounds, each of which skips most rows; on a GPU step by step, each a product with all rows: more work,
which a GPU has units for, and none of the host's decisions, each of which a GPU would be waited for.
"""

from __future__ import annotations

import numpy as np
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

    A row's distance to the nearest pick only falls, so that what was known of it is an upper bound. In each round the
    rows on top learn the picks that they do not know; then they are picked, by the pairs among themselves, for as long
    as they stand above the bound of all others. Rows that never come to the top are hardly compared.
    """
    state = Traversal(points, n, start)
    size = max(2 * CHUNK, min(16 * CHUNK, len(points) // CHUNK))
    while state.count < n:
        front, limit, next_row = state.front(size)
        # numpy's views of the same memory: its calls take a fifth of torch's time on so few numbers
        rows, bound = front.numpy(), state.nearest[front].numpy()
        pairs = _squared(gram(points[front])).numpy()
        picked = [at := int(bound.argmax())]
        while state.count + len(picked) < n:
            np.minimum(bound, pairs[at], out=bound)
            bound[at] = -np.inf
            at = int(bound.argmax())
            # a row outside wins where its bound is larger, or is as large and its index lower
            if (-float(bound[at]), int(rows[at])) > (-limit, next_row):
                break
            picked.append(at)
        state.take(front[picked])
    return state.picks


class Traversal:
    """The picks so far; of each row a bound on its squared distance to them, and to how many of them that holds."""

    def __init__(self, points: torch.Tensor, n: int, start: int) -> None:
        self.points, self.norms = points, (points[:, None] @ points[..., None]).flatten()
        self.picks = torch.empty(n, dtype=torch.int64, device=points.device)
        self.picked = points.new_empty(n, points.shape[1])
        self.known, self.count = torch.ones(len(points), dtype=torch.int64, device=points.device), 0
        first = _isolated(points, self.norms) if start < 0 else torch.tensor(start, device=points.device)
        own = first[None]
        self.nearest = _pairs(points, self.norms, points[own], self.norms[own])[:, 0]
        self.take(own)

    def take(self, rows: torch.Tensor) -> None:
        """Pick `rows`, in their order; none is picked again."""
        new = slice(self.count, self.count + len(rows))
        self.picks[new], self.picked[new] = rows, self.points[rows]
        self.nearest[rows], self.known[rows] = -torch.inf, len(self.picks)
        self.count = new.stop

    def front(self, size: int) -> tuple[torch.Tensor, float, int]:
        """The `size` rows with the largest distances, ascending; a bound on those of the others, and the first row that
        has it."""
        while True:
            # more than the front: of those that learn something most fall behind
            top = self._top(4 * size)
            front = top[:size]
            if int(self.known[front].min()) >= self.count:
                break
            self._learn(top)
        if len(top) <= size:
            return front.sort().values, -torch.inf, len(self.points)
        return front.sort().values, float(self.nearest[top[size]]), int(top[size])

    def _top(self, size: int) -> torch.Tensor:
        """At least `size` rows, or all, by falling bound; ties by index."""
        edge = self.nearest.topk(min(size, len(self.nearest))).values[-1]
        rows = (self.nearest >= edge).nonzero()[:, 0]
        return rows[self.nearest[rows].argsort(descending=True, stable=True)]

    def _learn(self, rows: torch.Tensor) -> None:
        """Bring the bounds of `rows` down to what the picks so far say."""
        rows = rows[self.known[rows] < self.count]
        rows = rows[self.known[rows].argsort(stable=True)]
        known, sizes = self.known[rows].unique_consecutive(return_counts=True)
        for first, own in zip(known.tolist(), rows.split(sizes.tolist()), strict=True):
            step = max(1, _sets.MAX_PAIRS // len(own))
            for start in range(first, self.count, step):
                new = slice(start, min(start + step, self.count))
                distance = _pairs(self.points[own], self.norms[own], self.picked[new], self.norms[self.picks[new]])
                self.nearest[own] = torch.minimum(self.nearest[own], distance.amin(1))
        self.known[rows] = self.count


def _isolated(points: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """The row whose nearest neighbour is farthest.

    Rows are compared with a block of columns after the other and leave as soon as a neighbour is nearer than what the
    best row found so far has; now and then those that may be the best are compared with all.
    """
    bound, nearest = torch.full_like(norms, torch.inf), torch.full_like(norms, -torch.inf)
    every = torch.arange(len(points), device=points.device)
    size = max(1, min(2 * CHUNK, _sets.MAX_PAIRS // len(points)))
    n_blocks, due = -(-len(points) // size), 0
    left = held = every
    held_points, held_norms = points, norms
    for block in range(n_blocks):
        if len(left) < 0.75 * len(held):
            # not each time: moving a row costs a third of comparing it
            held, held_points, held_norms = left, points[left], norms[left]
        columns = every[block::n_blocks]
        distance = _pairs(held_points, held_norms, points[columns], norms[columns])
        own = (held % n_blocks == block).nonzero()[:, 0]
        distance[own, held[own] // n_blocks] = torch.inf
        bound[held] = torch.minimum(bound[held], distance.amin(1))
        if block >= due:
            # next when four times as many columns were looked at
            due = 4 * block + 3
            best = left[bound[left].topk(min(max(1, size // 4), len(left))).indices]
            distance = _pairs(points, norms, points[best], norms[best])
            distance[best, torch.arange(len(best), device=best.device)] = torch.inf
            nearest[best] = distance.amin(0)
            bound = torch.minimum(bound, distance.amin(1))
        # equal rows stay, for the lower index to win
        left = left[(bound[left] >= nearest.max()) & (nearest[left] == -torch.inf)]
        if not len(left):
            break
    # compared with all
    nearest[left] = bound[left]
    return nearest.argmax()


def _squared(dots: torch.Tensor) -> torch.Tensor:
    """Squared distances from dot products, in their place."""
    norms = dots.diagonal().clone()
    return dots.mul_(-2).add_(norms).add_(norms[:, None]).clamp_(min=0)


def _pairs(rows: torch.Tensor, row_norms: torch.Tensor, points: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances of `rows` to `points`, with the norms given."""
    # few passes, in place: over all pairs a copy is as dear as a step
    return torch.addmm(norms, rows, points.mT, alpha=-2).add_(row_norms[:, None]).clamp_(min=0)
