"""DUAL's sampling (Cho et al. 2025, arXiv:2502.06905): a Beta window over easiness that moves with how much is cut.

    b = C (1 - mu) (1 - r^c),   a = C + 1 - b,   C = 15,   r = 1 - n / N the fraction that is cut
    chance of i ~ Beta(mean_i; a, b) score_i

mean_i is the mean probability of the row's label over training, near 1 for easy rows; mu its average over the ten
rows of the highest score. Where little is cut the window stands at the rows that the score likes best; the more is
cut, the more it moves to easy rows. `c` is higher for harder tasks. Rows are drawn without replacement: Gumbel keys
of the logarithm of the chance. A score of at most 0 is no chance: such rows come last. Nothing is nested: the
window moves with n. O(N) time and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector
from datapruner.selectors._columns import numbers
from datapruner.selectors.gumbel import noise

TOP = 10


@dataclass(frozen=True)
class BetaWindow(Selector):
    """Paper: Cho et al. 2025, DUAL (arXiv:2502.06905); drawn by score in a window over easiness that moves with n.

    `easiness` is the column or field with the mean probability of the label, in [0, 1].
    """

    easiness: str = "dual/mean"
    concentration: float = 15.0
    c: float = 4.0

    reads: ClassVar[str] = "scores and the mean probability of the label"
    direction: ClassVar[str] = "high, in a window that moves to easy rows"
    cost: ClassVar[str] = "a hash a row and a partition: O(N)"
    nested: ClassVar[bool] = False

    def check(self) -> None:
        if not self.concentration > 0 or not self.c > 0:
            raise ValueError(f"beta_window wants concentration and c above 0, got {self.concentration} and {self.c}")

    def default_by(self) -> str | None:
        return self.easiness.partition("/")[0]

    def choose(self, candidates: Candidates, n: int) -> Choice:
        if not n:
            return Choice(np.zeros(len(candidates), dtype=bool))
        lots = partial(candidates.lots, self.seed)
        mean = numbers(candidates, self.easiness).astype(np.float64)
        if mean.min() < 0 or mean.max() > 1:
            raise ValueError(f"beta_window wants {self.easiness!r} in [0, 1], got {mean.min():g} to {mean.max():g}")
        top = ranking.highest(candidates.scores, min(TOP, len(mean)), lots)
        # sorted, so that the sum does not hang on the order of the rows
        a, b = self.window(float(np.sort(mean[top]).mean()), 1 - n / len(mean))
        # the density up to a factor; at the ends it is 0 or without bound, so that it is read a little inside
        inside = np.clip(mean, 1e-6, 1 - 1e-6)
        with np.errstate(divide="ignore"):
            chance = np.log(candidates.scores.astype(np.float64).clip(min=0))
        chance += (a - 1) * np.log(inside) + (b - 1) * np.log1p(-inside)
        return Choice(ranking.highest(chance + noise(candidates.lots(self.seed)), n, lots))

    def window(self, mu: float, cut: float) -> tuple[float, float]:
        """The parameters a and b of the Beta distribution where the fraction `cut` of the rows is dropped."""
        b = self.concentration * (1 - mu) * (1 - cut**self.c)
        return self.concentration + 1 - b, b

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        text = f"not drawn by {candidates.by} in the window over {self.easiness} with seed {self.seed}"
        return np.zeros(len(candidates), dtype=np.int8), [text if kept.any() else "its share is 0 rows"]
