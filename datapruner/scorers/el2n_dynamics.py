"""The EL2N of training dynamics, as Zheng et al. 2023 (arXiv:2210.15809) take it, from a record of one training.

    el2n_dynamics = sum over a row's first `early` presentations of  || softmax(logits) - onehot(label) ||_2

in training mode, with augmentation and dropout as they were; `early`, 10 by default, is the recorder's. This is not the
`el2n` of Paul et al. 2021 (arXiv:2107.07075), the mean over trainings of one early checkpoint in evaluation mode:
the two rank rows differently and never share a column. Higher is harder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scorers._recorded import RecordedScorer
from datapruner.training.record_file import Record


@dataclass(frozen=True)
class El2nDynamics(RecordedScorer):
    """Paper: Zheng et al. 2023 (arXiv:2210.15809); errors of one training's first presentations, summed."""

    direction: ClassVar[str] = "higher is harder; in [0, sqrt(2) times the early presentations]"
    cost: ClassVar[str] = "a look-up; recorded while training: a few passes over the logits, O(n) memory"

    def of(self, record: Record, places: np.ndarray, uids: Sequence[str]) -> np.ndarray:
        # of fewer presentations the sum would be smaller for that alone
        self.refuse_short(record, places, uids, record.settings.early)
        return record.column("early_el2n_sum")[places]
