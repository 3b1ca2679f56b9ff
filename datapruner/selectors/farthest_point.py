"""Keep rows that stand far from each other: the greedy k-center coreset (Sener and Savarese 2018, arXiv:1708.00489).

Each pick is the row farthest from all picks before it, in a vector column of the table. The first pick is the row
with the lowest lot ("uid") or the one whose nearest neighbour is farthest ("isolated"). Picks come in an order: a
smaller keep_ratio keeps a subset of what a larger one keeps. Scores are not looked at. The vectors of a group are
in memory at once, with a running minimum beside them: 2 N d FLOP a pick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector
from datapruner.selectors._columns import drawn_order, points
from prunekernels import farthest_point


@dataclass(frozen=True)
class FarthestPoint(Selector):
    """Paper: Sener and Savarese 2018 (arXiv:1708.00489); rows far from each other in the column `features`."""

    features: str = "embedding"
    metric: Literal["cosine", "euclidean"] = "cosine"
    start: Literal["uid", "isolated"] = "uid"

    reads: ClassVar[str] = "vectors"
    direction: ClassVar[str] = "none: far from each other"
    cost: ClassVar[str] = "2 N d FLOP a pick, one number a row beside the vectors"
    needs_scores: ClassVar[bool] = False
    nested: ClassVar[bool] = True

    def choose(self, candidates: Candidates, n: int) -> Choice:
        kept = np.zeros(len(candidates), dtype=bool)
        if n:
            # by lot, so that equal distances do not go by the order of the rows
            order = drawn_order(candidates, self.seed)
            vectors = points(candidates, self.features, order)
            first: int | Literal["isolated"] = 0 if self.start == "uid" else "isolated"
            picks = farthest_point.farthest_point(vectors, n, self.metric, first)
            kept[order[picks.numpy()]] = True
        return Choice(kept)

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        text = f"nearer to kept rows in {self.features} than the {np.count_nonzero(kept)} that were picked"
        return np.zeros(len(candidates), dtype=np.int8), [text if kept.any() else "its share is 0 rows"]
