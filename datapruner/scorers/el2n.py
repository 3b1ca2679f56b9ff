"""EL2N, the error L2-norm of Paul et al. 2021 (arXiv:2107.07075), from logits that trainings left.

    el2n = || softmax(logits) - onehot(label) ||_2,    the mean over the runs whose logits are given

Higher means harder. The paper takes logits early in training, in evaluation mode, without augmentation, and the mean
of about ten runs: one run's ranking is noisy. The sum over the epochs of one run, in training mode, goes by the same
name elsewhere and is another score: `el2n_dynamics`. The hardest rows are often wrong labels: offsets that drop them
first help where labels are noisy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._classifier import ClassifierScorer
from datapruner.scoring.scorer import NOTHING, Batch, State
from prunekernels.el2n import el2n


@dataclass(frozen=True)
class El2n(ClassifierScorer):
    """Paper: Paul et al. 2021 (arXiv:2107.07075); error of the logits of early checkpoints, harder is higher."""

    direction: ClassVar[str] = "higher is harder; in [0, sqrt(2)]"
    cost: ClassVar[str] = "a softmax a row and run; the forward passes are those that saved the logits"

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        labels = self.numbered(batch, state)
        total, count = torch.zeros(len(batch), dtype=torch.float64), 0
        for logits in self.runs(batch, labels):
            total, count = total + el2n(logits, labels).double(), count + 1
        return (total / count).float().numpy()
