"""A uniform number in [0, 1), from the row's uid and a seed: the baseline that every score must beat.

It hangs on nothing but uid and seed, so that a row keeps its number when others come, go or change places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.corpus.uids import splitmix64
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class Random(Scorer):
    """Rule: the top 24 bits of a hash of uid and seed, over 2^24."""

    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    is_cheap: ClassVar[bool] = True
    direction: ClassVar[str] = "none: uniform in [0, 1)"
    cost: ClassVar[str] = "a hash a row"

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        # 24 bits are what a float32 holds exactly: 1 is never reached
        return ((splitmix64(batch.keys, self.seed) >> np.uint64(40)) / 2**24).astype(np.float32)
