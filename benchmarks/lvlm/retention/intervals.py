"""How far shares of right answers are known: bootstrap over pictures, whose questions stand or fall together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROUNDS, LEVEL = 1000, 0.95


def interval(right: Sequence[Sequence[bool]], full: Sequence[Sequence[bool]] | None = None) -> tuple[float, float]:
    """The middle 95 % of the accuracy over pictures drawn anew, or of its ratio to that of `full`.

    `right` and `full` say of each picture which of its questions were answered right.
    """
    hits = np.array([sum(own) for own in right], float)
    other = np.array([len(own) for own in right] if full is None else [sum(own) for own in full], float)
    drawn = np.random.default_rng(0).integers(0, len(hits), (ROUNDS, len(hits)))
    shares = hits[drawn].sum(1) / np.maximum(other[drawn].sum(1), 1)
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def difference_interval(right: Sequence[Sequence[bool]], other: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """The middle 95 % of the accuracy of `right` less that of `other`: the same questions about the same pictures."""
    hits = np.array([sum(own) - sum(two) for own, two in zip(right, other, strict=True)], float)
    sizes = np.array([len(own) for own in right], float)
    drawn = np.random.default_rng(0).integers(0, len(hits), (ROUNDS, len(hits)))
    differences = hits[drawn].sum(1) / np.maximum(sizes[drawn].sum(1), 1)
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of the mean of `values` drawn anew, each by itself."""
    own = np.array(values, float)
    drawn = np.random.default_rng(0).integers(0, len(own), (ROUNDS, len(own)))
    low, high = np.quantile(own[drawn].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
