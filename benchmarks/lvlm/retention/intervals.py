"""How far shares of right answers are known: bootstrap over pictures, whose questions stand or fall together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

ROUNDS, LEVEL = 1000, 0.95
Verdict = Literal["ahead", "level", "behind"]


def interval(right: Sequence[Sequence[bool]], full: Sequence[Sequence[bool]] | None = None) -> tuple[float, float]:
    """The middle 95 % of the accuracy over pictures drawn anew, or of its ratio to that of `full`.

    `right` and `full` say of each picture which of its questions were answered right.
    """
    hits = [sum(own) for own in right]
    return _ratio_interval(hits, [len(own) for own in right] if full is None else [sum(own) for own in full])


def difference_interval(right: Sequence[Sequence[bool]], other: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """The middle 95 % of the accuracy of `right` less that of `other`: the same questions about the same pictures."""
    more = [sum(own) - sum(two) for own, two in zip(right, other, strict=True)]
    return _ratio_interval(more, [len(own) for own in right])


def verdict(low: float, high: float) -> Verdict:
    """What the interval of a difference says: whether it holds 0, or on which side of it it lies."""
    return "ahead" if low > 0 else "behind" if high < 0 else "level"


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of the mean of `values` drawn anew, each by itself."""
    return _ratio_interval(values, [1] * len(values))


def _ratio_interval(upper: Sequence[float], lower: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of sum(upper) / sum(lower) over pairs drawn anew."""
    above, below = np.array(upper, float), np.array(lower, float)
    drawn = np.random.default_rng(0).integers(0, len(above), (ROUNDS, len(above)))
    shares = above[drawn].sum(1) / np.maximum(below[drawn].sum(1), 1)
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
