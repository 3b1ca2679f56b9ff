"""Coverage-centric coreset selection (Zheng et al. 2023, arXiv:2210.15809).

Of N rows the floor(beta N) hardest are dropped: they are mislabelled more often than not. The paper tells them by
AUM, also where the strata are those of another score (`hardness`). The score's range over what is left is cut into
`strata` bins of equal width, the last closed at its end. The n rows are shared out evenly, and what a small stratum
cannot fill goes to the others (the paper's smallest-first rule, without its rounding down): each gives
min(size, level) rows. Inside a stratum rows are drawn by uid. Nothing is nested: the bins move with n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.uids import splitmix64
from datapruner.selection import ranking
from datapruner.selection.candidates import Candidates
from datapruner.selection.groups import counts, members
from datapruner.selection.selector import Choice, Selector
from datapruner.selectors._columns import numbers
from prunekernels import budget


@dataclass(frozen=True)
class CoverageCentric(Selector):
    """Paper: Zheng et al. 2023 (arXiv:2210.15809); the beta hardest dropped, then evenly over strata of the score.

    `hard` says which end is hard, of the score or of the column `hardness` where one is named.
    """

    beta: float = 0.0
    hard: Literal["high", "low"] = "high"
    strata: int = 50
    hardness: str = ""

    reads: ClassVar[str] = "scores; another column for the cut, where named"
    direction: ClassVar[str] = "all of the range but the hardest"
    cost: ClassVar[str] = "a pass for the bins, a draw for each: O(N)"
    nested: ClassVar[bool] = False

    def check(self) -> None:
        if not 0 <= self.beta < 1 or self.strata < 1 or self.hard not in ("high", "low"):
            raise ValueError(
                f"coverage_centric wants beta in [0, 1), hard high or low and at least 1 stratum, "
                f"got {self.beta}, {self.hard!r} and {self.strata}"
            )

    def most(self, n_rows: int) -> int:
        return n_rows - math.floor(self.beta * n_rows + 1e-9)

    def choose(self, candidates: Candidates, n: int) -> Choice:
        n_rows = len(candidates)
        # in whole rows: by less than one the fractions may overlap
        if n > self.most(n_rows):
            raise ValueError(f"want beta + keep_ratio of at most 1, got {self.beta} and {n} of {n_rows} rows")
        cut = ranking.highest if self.hard == "high" else ranking.lowest
        n_cut = n_rows - self.most(n_rows)
        by_cut = numbers(candidates, self.hardness) if self.hardness else candidates.scores
        hardest = cut(by_cut, n_cut, partial(candidates.lots, self.seed))
        left = slice(None) if not n_cut else np.flatnonzero(~hardest)
        kept = np.zeros(n_rows, dtype=bool)
        kept[left] = self._draw(candidates, candidates.scores[left], left, n)
        texts = [
            "not drawn in its stratum",
            f"{self.hardness or candidates.by} beyond the cut of the {self.beta:g} hardest",
        ]
        return Choice(kept, hardest.view(np.int8), texts)

    def _draw(self, candidates: Candidates, scores: np.ndarray, left: slice | np.ndarray, n: int) -> np.ndarray:
        """Which of the rows `left`, with these `scores`, are drawn: as evenly over the strata as they can be."""
        bins = ranking.strata(scores, self.strata)
        sizes = counts(bins, self.strata).tolist()
        shares = budget.allocate(n, sizes, [1.0] * self.strata).tolist()
        drawn = np.zeros(len(scores), dtype=bool)
        for places, count in zip(members(bins, self.strata), shares, strict=True):
            rows = places if isinstance(left, slice) else left[places]
            if count in (0, len(places)):
                drawn[places] = count > 0
                continue
            # mixed once more: a tie at the cut must not decide who is drawn
            lots = splitmix64(candidates.lots(self.seed, rows), 1)
            drawn[places] = ranking.lowest(lots, count)
        return drawn
