"""TDDS, temporal dual-depth scoring, of Zhang et al. 2024 (arXiv:2311.13613), from a record of training dynamics.

    d_t = KL(q_t || q_{t-1})                        how far all probabilities q moved since the last presentation
    r_k = || d - mean(d) ||_2                       over the J - 1 steps of the window that ends at presentation k
    tdds = sum_k beta (1 - beta)^(T - k) r_k        beta = 0.9: late windows count, early ones fade

The inner depth is how unevenly a row contributes within a window, the outer one an average over windows that move by
one presentation each: a code that reads the first window again and again scores nothing but the first J epochs.
Higher is more important. Some codes add up |q log q / q'| class by class, which is no divergence, or square the norm.
The paper ends the record early, say at 10 to 90 of 200 epochs, the earlier the more is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scorers._recorded import RecordedScorer
from datapruner.training.record_file import Record


@dataclass(frozen=True)
class Tdds(RecordedScorer):
    """Paper: Zhang et al. 2024 (arXiv:2311.13613); how unevenly predictions move within windows, late ones first."""

    direction: ClassVar[str] = "higher is more important; at least 0"
    cost: ClassVar[str] = "a look-up; recorded while training: a window of divergences a row"

    def check(self) -> None:
        super().check()
        for record in self.records:
            if not record.settings.with_divergences:
                raise ValueError(f"{record.path}: tdds wants a record with_divergences=True")

    def of(self, record: Record, places: np.ndarray, uids: Sequence[str]) -> np.ndarray:
        self.refuse_short(record, places, uids, record.settings.window)
        return record.column("tdds")[places]
