"""Keep the scores around the median rank (Marion et al. 2023, When Less is More, arXiv:2309.04564).

Of N rows floor((N - n) / 2) are dropped below and the others above. One row more widens the window at one end:
a smaller keep_ratio keeps a subset of what a larger one keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector


@dataclass(frozen=True)
class Middle(Selector):
    """Paper: Marion et al. 2023 (arXiv:2309.04564); the n rows around the median score."""

    reads: ClassVar[str] = "scores"
    direction: ClassVar[str] = "middle"
    cost: ClassVar[str] = "two partitions: O(N)"
    nested: ClassVar[bool] = True
    score_only: ClassVar[bool] = True

    def choose(self, candidates: Candidates, n: int) -> Choice:
        return Choice(ranking.middle(candidates.scores, n, partial(candidates.lots, self.seed)))
