"""DUAL of Cho et al. 2025 (arXiv:2502.06905): difficulty times uncertainty, early in training.

    dual = mean over windows of J presentations of  std(p) (1 - mean(p)),    p the probability of the label

with J - 1 below the variance, as in Dyn-Unc. High are rows that are wrong and waver. The paper takes J = 10 and the
first 30 epochs of 200: record no more, or save the record there. At low keep ratios the highest are the mislabeled
ones, and the paper draws by score in a window over easiness instead: selector `beta_window`, which reads `mean`, the
mean of p over all presentations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scorers._recorded import RecordedScorer
from datapruner.scoring.scorer import Batch
from datapruner.training.record_file import Record


@dataclass(frozen=True)
class Dual(RecordedScorer):
    """Paper: Cho et al. 2025 (arXiv:2502.06905); wavering times error of the label's probability, over windows."""

    direction: ClassVar[str] = "higher is harder and less certain; at least 0"
    cost: ClassVar[str] = "a look-up; recorded while training: a window of probabilities a row"

    def of(self, record: Record, places: np.ndarray, uids: Sequence[str]) -> np.ndarray:
        window = record.settings.window
        presentations = self.refuse_short(record, places, uids, window)
        return record.column("dual_sum")[places] / (presentations - window + 1)

    def details(self, batch: Batch) -> dict[str, np.ndarray]:
        """`mean`: the mean probability of the label, float32: near 1 for easy rows."""
        total = np.zeros(len(batch))
        for record in self.records if len(batch) else ():
            places = record.places(batch.keys, batch.uids)
            total += record.column("p_label_sum")[places] / np.maximum(record.column("presentations")[places], 1)
        return {"mean": (total / max(1, len(self.records))).astype(np.float32)}
