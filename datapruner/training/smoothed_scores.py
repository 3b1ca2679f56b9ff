"""Scores that are taken again and again, smoothed: the mean so far, and more for rows whose scores move.

    m <- alpha x + (1 - alpha) m                      smoothed = m + c s,
    v <- (1 - alpha) (v + alpha (x - m_before)^2)     s = sqrt(v / (1 - w)),    w <- alpha^2 + (1 - alpha)^2 w

with m the first x, v = 0 and w = 1 at first: the exponentially weighted mean and unbiased standard deviation of pandas
(adjust=False). s is 0 while there is one score.
"""

from __future__ import annotations

import numpy as np


class SmoothedScores:
    """`alpha` in (0, 1]: the weight of the newest score. `deviations`: c above."""

    def __init__(self, alpha: float = 0.8, deviations: float = 1.0) -> None:
        if not 0 < alpha <= 1 or deviations < 0:
            raise ValueError(f"want alpha in (0, 1] and deviations of at least 0, got {alpha} and {deviations}")
        self.alpha, self.deviations = alpha, deviations
        self._mean: np.ndarray | None = None
        self._variance = np.zeros(0)
        self._weight = 1.0

    def update(self, scores: np.ndarray) -> np.ndarray:
        """The smoothed scores, float64 [n], behind one more of each row, `scores` [n]."""
        new, alpha = scores.astype(np.float64), self.alpha
        if self._mean is None:
            self._mean, self._variance = new.copy(), np.zeros(len(new))
            return new
        if new.shape != self._mean.shape:
            raise ValueError(f"want scores of {len(self._mean)} rows as before, got {len(new)}")
        step = new - self._mean
        self._mean = self._mean + alpha * step
        self._variance = (1 - alpha) * (self._variance + alpha * step**2)
        self._weight = alpha**2 + (1 - alpha) ** 2 * self._weight
        # alpha of 1 forgets all but the newest: there is no spread
        spread = self._variance / (1 - self._weight) if self._weight < 1 else self._variance
        return self._mean + self.deviations * np.sqrt(spread)
