"""Forgetting events of Toneva et al. 2019 (arXiv:1812.05159), from a record of training dynamics.

    forgetting = how often a row was answered right at one presentation and wrong at its next

A row that was never right counts as forgotten at every presentation, the most there is: counted as 0, as some codes do,
the hardest rows would stand among those that were never forgotten and be dropped first. Trainings are summed, as in the
paper. Higher is harder. Most rows of an easy set have 0: ties go by uid and seed, as in every selector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scorers._recorded import RecordedScorer
from datapruner.training.record_file import Record


@dataclass(frozen=True)
class Forgetting(RecordedScorer):
    """Paper: Toneva et al. 2019 (arXiv:1812.05159); right answers that were lost, all presentations if never right."""

    direction: ClassVar[str] = "higher is harder; 0 was learned once and for all"
    cost: ClassVar[str] = "a look-up; recorded while training: a few passes over the logits, O(n) memory"
    over_trainings: ClassVar[str] = "sum"

    def of(self, record: Record, places: np.ndarray, uids: Sequence[str]) -> np.ndarray:
        presentations = self.refuse_short(record, places, uids, 1)
        learned = record.column("learned")[places]
        return np.where(learned, record.column("forgettings")[places], presentations).astype(np.float64)
