"""A draw without replacement with chances that follow the score: Gumbel top-k (Kool et al. 2019, arXiv:1903.06059).

    key_i = log weight_i + g_i,    g_i = -log(-log(u_i)),    u_i drawn from the row's uid and `seed`

The n largest keys are a draw of n rows, one after another, each with a chance in proportion to its weight among
those that are left: what DSIR (arXiv:2302.03169) takes in place of the n highest weights, which would be its target's
commonest rows over and over. The weight is exp(score / temperature), or with `scale` linear the score itself to the
power 1 / temperature, which must then be at least 0. A row's key hangs on nothing but itself: a smaller keep_ratio
keeps a subset of what a larger one keeps. O(N) time and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.uids import splitmix64
from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector


@dataclass(frozen=True)
class Gumbel(Selector):
    """Paper: Kool et al. 2019 (arXiv:1903.06059); n rows drawn without replacement, by weights that the score gives.

    The score is the logarithm of the weight, or with `scale` linear the weight itself.
    """

    scale: Literal["log", "linear"] = "log"
    temperature: float = 1.0

    reads: ClassVar[str] = "scores"
    direction: ClassVar[str] = "high, by chance"
    cost: ClassVar[str] = "a hash a row and a partition: O(N)"
    nested: ClassVar[bool] = True

    def check(self) -> None:
        if self.scale not in ("log", "linear") or not self.temperature > 0:
            raise ValueError(
                f"gumbel wants scale log or linear and temperature above 0, got {self.scale!r} and {self.temperature}"
            )

    def choose(self, candidates: Candidates, n: int) -> Choice:
        weights = candidates.scores.astype(np.float64)
        if self.scale == "linear":
            if len(weights) and weights.min() < 0:
                raise ValueError(f"gumbel:scale=linear wants scores of at least 0, got {weights.min():g}")
            with np.errstate(divide="ignore"):
                weights = np.log(weights)
        keys = weights / self.temperature + noise(candidates.lots(self.seed))
        return Choice(ranking.highest(keys, n, partial(candidates.lots, self.seed)))

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        return np.zeros(len(candidates), dtype=np.int8), [f"not drawn by {candidates.by} with seed {self.seed}"]


def noise(lots: np.ndarray) -> np.ndarray:
    """Gumbel(0, 1) float64 [n] from `lots` uint64 [n], mixed once more: they break ties as well."""
    uniform = ((splitmix64(lots, 1) >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
    return -np.log(-np.log(uniform))
