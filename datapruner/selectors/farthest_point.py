"""Keep rows that stand far from each other: the greedy k-center coreset (Sener and Savarese 2018, arXiv:1708.00489).

Each pick is the row farthest from all picks before it, in a vector column of the table. The first pick is the row
with the lowest lot ("uid") or the one whose nearest neighbour is farthest ("isolated"). Picks come in an order: a
smaller keep_ratio keeps a subset of what a larger one keeps. Scores are not looked at. The vectors of a group are
in memory at once, with a running minimum beside them: 2 N d FLOP a pick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from datapruner.selection.candidates import Candidates
from datapruner.selectors._columns import points
from datapruner.selectors._picks import PickingSelector, Picks
from prunekernels import farthest_point


@dataclass(frozen=True)
class FarthestPoint(PickingSelector):
    """Paper: Sener and Savarese 2018 (arXiv:1708.00489); rows far from each other in the column `features`."""

    metric: Literal["cosine", "euclidean"] = "cosine"
    start: Literal["uid", "isolated"] = "uid"

    direction: ClassVar[str] = "none: far from each other"
    cost: ClassVar[str] = "2 N d FLOP a pick, one number a row beside the vectors"
    because: ClassVar[str] = "nearer to kept rows in {features} than the {n} that were picked"

    def picks(self, candidates: Candidates, order: np.ndarray, n: int) -> Picks:
        first: int | Literal["isolated"] = 0 if self.start == "uid" else "isolated"
        vectors = points(candidates, self.features, order)
        return Picks(farthest_point.farthest_point(vectors, n, self.metric, first).numpy())
