"""Herding (Welling 2009; Rebuffi et al. 2017, iCaRL, arXiv:1611.07725): rows whose running mean stays at the mean.

    pick_t = argmin_x || mu - (x + sum of the picks before) / t ||,    mu the mean of all rows

Published code takes the argmax: the row that leads farthest away. In full, with r = t mu - sum of the picks, the
argmin of |x|^2 - 2 r.x over the rows that are not picked yet. Picks come in an order: a smaller keep_ratio keeps a
subset of what a larger one keeps. Scores are not looked at; one mean a group (`per` gives each class its own).
Memory: the vectors in float64, time 2 N d FLOP a pick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from datapruner.selection.candidates import Candidates
from datapruner.selectors._columns import points
from datapruner.selectors._picks import PickingSelector, Picks


@dataclass(frozen=True)
class Herding(PickingSelector):
    """Paper: Rebuffi et al. 2017, iCaRL (arXiv:1611.07725); rows whose mean stays nearest to the mean of all.

    `features` is the column with the vectors; with `metric` cosine they are scaled to length 1 first.
    """

    metric: Literal["euclidean", "cosine"] = "euclidean"

    direction: ClassVar[str] = "none: the mean stays"
    cost: ClassVar[str] = "2 N d FLOP a pick; the vectors in float64"
    because: ClassVar[str] = "leads the mean of the {n} kept farther from the mean {features} than they do"

    def check(self) -> None:
        if self.metric not in ("euclidean", "cosine"):
            raise ValueError(f"herding wants the metric euclidean or cosine, got {self.metric!r}")

    def picks(self, candidates: Candidates, order: np.ndarray, n: int) -> Picks:
        vectors = points(candidates, self.features, order, self.metric == "cosine")
        return Picks(herd(vectors.double().numpy(), n))


def herd(vectors: np.ndarray, n: int) -> np.ndarray:
    """The first `n` picks of `vectors` float64 [N, d], int64 [n] in their order; ties to the lower index."""
    # moving the origin to the mean changes no distance, and makes mu zero
    centred = vectors - vectors.mean(0)
    norms = np.einsum("nd,nd->n", centred, centred)
    residual = np.zeros(centred.shape[1])
    picks = np.empty(n, dtype=np.int64)
    for step in range(n):
        pick = int((norms - 2 * (centred @ residual)).argmin())
        picks[step] = pick
        residual -= centred[pick]
        # out of the race: no row is picked twice
        norms[pick] = np.inf
    return picks
