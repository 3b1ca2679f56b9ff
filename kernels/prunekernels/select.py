"""Which items stay: from scores to indices, the same on every device.

Every function returns ascending int64 indices. Ties go to the lower index; with `segments` [N] (int64 ids from
0) the count is met inside each segment, so that `n` is an int for all of them or one count a segment. Torch
only: two stable sorts, a few passes over the scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from prunekernels import segments as _segments

Count = int | Sequence[int] | torch.Tensor


def top(scores: torch.Tensor, n: Count, segments: torch.Tensor | None = None) -> torch.Tensor:
    """The `n` highest of `scores` [N]."""
    return _by_rank(scores, n, segments, descending=True)


def bottom(scores: torch.Tensor, n: Count, segments: torch.Tensor | None = None) -> torch.Tensor:
    """The `n` lowest of `scores` [N]."""
    return _by_rank(scores, n, segments, descending=False)


def middle(scores: torch.Tensor, n: Count, segments: torch.Tensor | None = None) -> torch.Tensor:
    """The `n` of `scores` [N] around the median rank; the lower side drops floor((N - n) / 2)."""
    ids, counts, lengths = _counts(scores, n, segments)
    ranks = _ranks(scores, ids, lengths, descending=False)
    first = ((lengths - counts) // 2)[ids]
    return ((ranks >= first) & (ranks < first + counts[ids])).nonzero().flatten()


def threshold(scores: torch.Tensor, minimum: float = -torch.inf, maximum: float = torch.inf) -> torch.Tensor:
    """All of `scores` [N] in [minimum, maximum], both ends included."""
    _check(scores)
    if not minimum <= maximum:
        raise ValueError(f"want minimum <= maximum, got {minimum} and {maximum}")
    return ((scores >= minimum) & (scores <= maximum)).nonzero().flatten()


def sample(weights: torch.Tensor, n: Count, seed: int, segments: torch.Tensor | None = None) -> torch.Tensor:
    """Draw `n` without replacement, each draw in proportion to `weights` [N] >= 0, the same for the same seed.

    Exponential race (Efraimidis and Spirakis 2006): the n smallest of E_i / w_i with E_i ~ Exp(1). The noise is
    drawn on the CPU in float64, so that every device picks the same. Weights of 0 come last.
    """
    _check(weights)
    if (weights < 0).any():
        raise ValueError(f"want weights of at least 0, got {float(weights.min())}")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.empty(len(weights), dtype=torch.float64).exponential_(generator=generator)
    race = (weights.double().cpu() / noise).to(weights.device)
    return top(race, n, segments)


def _by_rank(scores: torch.Tensor, n: Count, segments: torch.Tensor | None, descending: bool) -> torch.Tensor:
    ids, counts, lengths = _counts(scores, n, segments)
    return (_ranks(scores, ids, lengths, descending) < counts[ids]).nonzero().flatten()


def _counts(
    scores: torch.Tensor, n: Count, segments: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Segment ids [N], wanted counts [K] and sizes [K]; raises where a count cannot be met."""
    _check(scores)
    ids = torch.zeros(len(scores), dtype=torch.int64, device=scores.device) if segments is None else segments
    if ids.shape != scores.shape:
        raise ValueError(f"want segments {[*scores.shape]}, got {[*ids.shape]}")
    n_segments = 1 if segments is None else None if isinstance(n, int) else len(n)
    lengths = _segments.sizes(ids, n_segments)
    counts = torch.as_tensor(n, dtype=torch.int64, device=scores.device).expand(len(lengths))
    bad = (counts < 0) | (counts > lengths)
    if bad.any():
        where = int(bad.nonzero()[0])
        place = "" if segments is None else f" in segment {where}"
        raise ValueError(f"want a count in [0, {int(lengths[where])}]{place}, got {int(counts[where])}")
    return ids, counts, lengths


def _ranks(scores: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor, descending: bool) -> torch.Tensor:
    """Each item's place in its segment, from 0; a stable sort, so that the lower index goes first in a tie."""
    order = scores.sort(descending=descending, stable=True).indices
    order = order[ids[order].argsort(stable=True)]
    starts = lengths.cumsum(0) - lengths
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device)
    return ranks - starts[ids]


def _check(scores: torch.Tensor) -> None:
    if scores.ndim != 1:
        raise ValueError(f"want scores [N], got {[*scores.shape]}")
    if scores.isnan().any():
        raise ValueError(f"score {int(scores.isnan().nonzero()[0])} is NaN")
