"""Which items stay: from scores to indices, the same on every device.

Every function returns ascending int64 indices. Ties go to the lower index; with `segments` [N] (int64 ids from
0) the count is met inside each segment, so that `n` is one number for all of them or one count a segment. Torch
only: without segments the n-th score is found and compared with, with them two stable sorts. NaN is refused, on a
GPU later (`_finite`), where nothing else waits either without segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsIndex, TypeGuard

import numpy as np
import torch

from prunekernels import segments as _segments
from prunekernels._counts import whole
from prunekernels._finite import refuse_where
from prunekernels._ops import operator
from prunekernels._precision import full_precision

Count = SupportsIndex | Sequence[int] | torch.Tensor


def top(scores: torch.Tensor, n: Count, segments: torch.Tensor | None = None) -> torch.Tensor:
    """The `n` highest of `scores` [N]."""
    return _by_rank(scores.detach(), n, segments, descending=True)


def bottom(scores: torch.Tensor, n: Count, segments: torch.Tensor | None = None) -> torch.Tensor:
    """The `n` lowest of `scores` [N]."""
    return _by_rank(scores.detach(), n, segments, descending=False)


@full_precision
def middle(scores: torch.Tensor, n: Count, segments: torch.Tensor | None = None) -> torch.Tensor:
    """The `n` of `scores` [N] around the median rank; the lower side drops floor((N - n) / 2)."""
    if segments is None and _is_one(n):
        count = _one(scores, n)
        lower = (len(scores) - count) // 2
        _check(scores)
        return (_is_extreme(scores, lower + count, False) & ~_is_extreme(scores, lower, False)).nonzero().flatten()
    ids, counts, lengths = _counts(scores, n, segments)
    ranks = _ranks(scores, ids, lengths, descending=False)
    first = ((lengths - counts) // 2)[ids]
    return ((ranks >= first) & (ranks < first + counts[ids])).nonzero().flatten()


@full_precision
def threshold(scores: torch.Tensor, minimum: float = -torch.inf, maximum: float = torch.inf) -> torch.Tensor:
    """All of `scores` [N] in [minimum, maximum], both ends included."""
    _check(scores)
    if not minimum <= maximum:
        raise ValueError(f"want minimum <= maximum, got {minimum} and {maximum}")
    return ((scores >= minimum) & (scores <= maximum)).nonzero().flatten()


@full_precision
def sample(weights: torch.Tensor, n: Count, seed: SupportsIndex, segments: torch.Tensor | None = None) -> torch.Tensor:
    """Draw `n` without replacement, each draw in proportion to `weights` [N] >= 0, the same for the same seed.

    Exponential race (Efraimidis and Spirakis 2006): the n smallest of E_i / w_i with E_i ~ Exp(1). The noise is
    drawn on the CPU in float64, so that every device picks the same. Weights of 0 come last.
    """
    _check(weights)
    if (weights < 0).any():
        raise ValueError(f"want weights of at least 0, got {float(weights.min())}")
    generator = torch.Generator("cpu").manual_seed(whole("seed", seed))
    noise = torch.empty(len(weights), dtype=torch.float64, device="cpu").exponential_(generator=generator)
    race = (weights.double().cpu() / noise).to(weights.device)
    return top(race, n, segments)


def _by_rank(scores: torch.Tensor, n: Count, segments: torch.Tensor | None, descending: bool) -> torch.Tensor:
    if segments is None and _is_one(n):
        return _extremes(scores, _one(scores, n), descending)
    ids, counts, lengths = _counts(scores, n, segments)
    return (_ranks(scores, ids, lengths, descending) < counts[ids]).nonzero().flatten()


def _is_one(n: Count) -> TypeGuard[SupportsIndex]:
    return (
        not isinstance(n, Sequence) and (not isinstance(n, torch.Tensor) or n.ndim == 0) and not hasattr(n, "__len__")
    )


def _one(scores: torch.Tensor, n: SupportsIndex) -> int:
    """A count of all `scores`; raises ValueError where it cannot be met."""
    if scores.ndim != 1:
        raise ValueError(f"want scores [N], got {[*scores.shape]}")
    count = whole("a count", n)
    if not 0 <= count <= len(scores):
        raise ValueError(f"want a count in [0, {len(scores)}], got {count}")
    return count


def _empty(scores: torch.Tensor, n: int, descending: bool) -> torch.Tensor:
    return scores.new_empty(n, dtype=torch.int64)


@operator(_empty)
def _extremes(scores: torch.Tensor, n: int, descending: bool) -> torch.Tensor:
    """The `n` highest or lowest of `scores` [N], ascending."""
    _check(scores)
    if scores.is_cpu:
        return _where(_is_extreme(scores, n, descending))
    # a count that is known beforehand, where a mask would have to be read first
    return scores.sort(descending=descending, stable=True).indices[:n].sort().values


def _is_extreme(scores: torch.Tensor, n: int, descending: bool) -> torch.Tensor:
    """Which of `scores` [N] are the `n` highest or lowest: those past the n-th, and the first of those equal to it."""
    if n == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    # exact, and known to every device
    wide = (scores.float() if scores.dtype.itemsize < 4 else scores).detach()
    place = len(wide) - n if descending else n - 1
    if wide.is_cpu:
        # numpy's calls take a third of torch's time on few numbers
        values = wide.numpy()
        cut = np.partition(values, place)[place]
        beyond = values > cut if descending else values < cut
        beyond[np.flatnonzero(values == cut)[: n - np.count_nonzero(beyond)]] = True
        return torch.from_numpy(beyond)
    last = wide.kthvalue(place + 1).values
    chosen = wide > last if descending else wide < last
    ties = _where(wide == last)
    chosen[ties[: n - int(chosen.sum())]] = True
    return chosen


def _where(mask: torch.Tensor) -> torch.Tensor:
    """The places in `mask` [N]; numpy looks them up four times as fast as torch does on a CPU."""
    return torch.from_numpy(np.flatnonzero(mask.numpy())) if mask.is_cpu else mask.nonzero().flatten()


def _counts(
    scores: torch.Tensor, n: Count, segments: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Segment ids [N], wanted counts [K] and sizes [K]; raises where a count cannot be met."""
    _check(scores)
    ids = torch.zeros(len(scores), dtype=torch.int64, device=scores.device) if segments is None else segments
    if ids.shape != scores.shape:
        raise ValueError(f"want segments {[*scores.shape]}, got {[*ids.shape]}")
    wanted = torch.as_tensor(whole("a count", n) if _is_one(n) else n, dtype=torch.int64, device=scores.device)
    lengths = _segments.sizes(ids, 1 if segments is None else len(wanted) if wanted.ndim else None)
    counts = wanted.expand(len(lengths))
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
    refuse_where(scores.isnan(), lambda place: f"score {place[0]} is NaN")
