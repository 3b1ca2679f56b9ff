"""Keep the lowest scores. A smaller keep_ratio keeps a subset of what a larger one keeps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector


@dataclass(frozen=True)
class Bottom(Selector):
    """Rule: the n rows with the lowest scores."""

    reads: ClassVar[str] = "scores"
    direction: ClassVar[str] = "low"
    cost: ClassVar[str] = "a partition: O(N)"
    nested: ClassVar[bool] = True
    score_only: ClassVar[bool] = True

    def choose(self, candidates: Candidates, n: int) -> Choice:
        return Choice(ranking.lowest(candidates.scores, n, partial(candidates.lots, self.seed)))
