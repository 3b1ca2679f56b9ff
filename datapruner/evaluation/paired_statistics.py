"""What differences between trainings of equal seeds say: Student's interval, p-values, and Holm's correction.

    d_i = quality of the candidate - quality of the baseline, both trained with seed i;   i = 1 .. n
    mean(d) +- t(n - 1, 0.975) sd(d) / sqrt(n)

The interval is Student's and no bootstrap, because n is small: of five differences the percentile bootstrap resamples
too few values and its 95 % intervals hold the truth four times of five, while a quality is a mean over a test set, so
that differences are near enough to normal for t. What it covers is what the seeds change (order of training, initial
weights, and draws of scoring and selection where they have seeds of their own) on this very test set, not what another
test set would say.

Holm 1979: of m p-values in ascending order the k-th is multiplied by m - k + 1, and never falls below the one before
it; rejecting where that is at most alpha keeps the chance of any false rejection under alpha, whatever the p-values
have to do with each other.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from prunekernels.extras import require

CONFIDENCE = 0.95
# of a standard normal: the two-sided 5 % and a power of 80 %
_TWO_SIDED, _POWER = 1.959964, 0.841621


@dataclass(frozen=True)
class Difference:
    """Mean and standard deviation of paired differences, the ends of their interval, and p that the mean is 0.

    Better is positive, whichever way the quality counts.
    """

    n: int
    mean: float
    deviation: float
    low: float
    high: float
    p: float


def paired_difference(differences: Sequence[float]) -> Difference:
    """Of at least two differences; raises ValueError for fewer, or for one that is not finite."""
    _check(differences)
    n, mean, deviation = len(differences), statistics.fmean(differences), statistics.stdev(differences)
    half = float(_special().stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(n)
    p = min(1.0, 2 * min(p_above(differences, 0.0), p_above([-item for item in differences], 0.0)))
    return Difference(n, mean, deviation, mean - half, mean + half, p)


def p_above(differences: Sequence[float], bound: float) -> float:
    """One-sided p-value against a mean of at most `bound`: small where the mean lies above it."""
    _check(differences)
    n, shift = len(differences), statistics.fmean(differences) - bound
    deviation = statistics.stdev(differences)
    # equal up to rounding: there is no spread to divide by, and of n equal signs a coin says as much
    if deviation <= 1e-12 * max(abs(item) for item in (*differences, bound, 1e-300)):
        return 0.5**n if shift > 0 else 1.0
    return float(_special().stdtr(n - 1, -shift / (deviation / math.sqrt(n))))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for being several, in their order."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def seeds_needed(deviation: float, difference: float) -> int:
    """How many seeds show a mean difference of this size with a power of 80 %, at least 2.

    n = (1.96 + 0.84)^2 sd^2 / difference^2; raises ValueError for a difference that is not above 0.
    """
    if not difference > 0:
        raise ValueError(f"want a difference above 0, got {difference}")
    return max(2, math.ceil(((_TWO_SIDED + _POWER) * deviation / difference) ** 2))


def _check(differences: Sequence[float]) -> None:
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        raise ValueError(f"want at least two finite differences, got {[*differences]!s:.200}")


def _special():  # type: ignore[no-untyped-def]  # noqa: ANN202
    # scipy.stats itself takes a second to import
    return require("scipy.special", "data")
