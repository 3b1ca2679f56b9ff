"""Selectors that pick rows one after another by their vectors, whatever their scores are.

Picks come in an order: a smaller keep_ratio keeps a subset of what a larger one keeps. Rows stand in an order that is
drawn by uid, so that sums and ties do not hang on the order of the corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector
from datapruner.selectors._columns import drawn_order


class Picks(NamedTuple):
    """`places` int64 [n] of the rows in their drawn order, and how many rows each stands for, where a selector says."""

    places: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class PickingSelector(Selector):
    """Base: `features` is the column with the vectors; a selector writes `picks` and says of dropped rows `because`.

    `because` has {features} and {n} where the column and the number of kept rows come.
    """

    features: str = "embedding"

    reads: ClassVar[str] = "vectors"
    needs_scores: ClassVar[bool] = False
    nested: ClassVar[bool] = True
    because: ClassVar[str] = ""
    gives_weights: ClassVar[bool] = False

    def picks(self, candidates: Candidates, order: np.ndarray, n: int) -> Picks:
        """The first `n` >= 1 picks among the candidates in `order` int64 [N]."""
        raise NotImplementedError

    def choose(self, candidates: Candidates, n: int) -> Choice:
        kept = np.zeros(len(candidates), dtype=bool)
        weights = np.zeros(len(candidates), dtype=np.float32) if self.gives_weights else None
        if n:
            order = drawn_order(candidates, self.seed)
            found = self.picks(candidates, order, n)
            kept[order[found.places]] = True
            if weights is not None:
                weights[order[found.places]] = found.weights
        return Choice(kept, weights=weights)

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        text = self.because.format(features=self.features, n=np.count_nonzero(kept))
        return np.zeros(len(candidates), dtype=np.int8), [text if kept.any() else "its share is 0 rows"]
