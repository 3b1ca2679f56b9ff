"""Area under the margin of Pleiss et al. 2020 (arXiv:2001.10528), from a record of training dynamics.

    aum = mean over presentations of  z_y - max_{c != y} z_c,    z the raw logits in training mode

Low, and below 0 above all, is a row whose label is probably wrong, or a hard one. The sum over epochs of the margin of
probabilities goes by names like it elsewhere and is another score.

The paper finds its cut by threshold rows: of C classes, n / (C + 1) rows are given a class C + 1 of their own before
training, which nothing but memory can tell; the 99th percentile of their aum is what a wrong label reaches, and rows at
or below it are dropped. `datapruner.training.threshold_class` draws such rows and gives the cut for
`threshold:minimum=...`; the drawn rows are judged by a second training with other ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scorers._recorded import RecordedScorer
from datapruner.training.record_file import Record


@dataclass(frozen=True)
class Aum(RecordedScorer):
    """Paper: Pleiss et al. 2020 (arXiv:2001.10528); mean margin of the raw logits over a training."""

    direction: ClassVar[str] = "higher is easier; low or below 0 is probably a wrong label"
    cost: ClassVar[str] = "a look-up; recorded while training: a few passes over the logits, O(n) memory"

    def of(self, record: Record, places: np.ndarray, uids: Sequence[str]) -> np.ndarray:
        presentations = self.refuse_short(record, places, uids, 1)
        return record.column("margin_sum")[places] / presentations
