"""Intervals of means by the bootstrap, over documents where several questions are asked of one.

Questions of one document answer for each other, so that documents are drawn and no questions: with replacement, as many
as there are, `DRAWS` times (a cluster bootstrap). The interval holds the middle 95 % of the means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 1000
OUTSIDE = 0.05
LARGEST = 1 << 20


def resampled_means(values: Sequence[float], groups: Sequence[str]) -> np.ndarray:
    """Means of `values`, of which those of one group are drawn together: float64 [DRAWS].

    Where all are of one group, values are drawn by themselves. The same values give the same means.
    """
    names, of_value = np.unique(np.array(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        of_value, names = np.arange(len(values)), np.arange(len(values))
    sums = np.bincount(of_value, np.asarray(values, float), len(names))
    sizes = np.bincount(of_value, minlength=len(names))
    draw = np.random.default_rng(0)
    # as many draws at a time as fit into some megabytes
    at_once = max(LARGEST // len(names), 1)
    found = []
    for start in range(0, DRAWS, at_once):
        taken = draw.integers(0, len(names), (min(at_once, DRAWS - start), len(names)))
        found.append(sums[taken].sum(1) / sizes[taken].sum(1))
    return np.concatenate(found)


def interval(means: np.ndarray) -> tuple[float, float]:
    """Between which two the middle 95 % of `means` lie."""
    low, high = np.quantile(means, [OUTSIDE / 2, 1 - OUTSIDE / 2])
    return float(low), float(high)
