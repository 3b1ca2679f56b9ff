"""EL2N, the error L2-norm of Paul et al. 2021 (arXiv:2107.07075), from logits that a training run saved.

    el2n = || softmax(logits) - onehot(label) ||_2,    the mean over the runs whose logits are given

Higher means harder. The paper takes logits early in training, in evaluation mode, without augmentation, and the
mean of about ten runs: one run's ranking is noisy. The sum over the epochs of one run, in training mode, goes by
the same name elsewhere and is another score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from prunekernels.el2n import el2n


@dataclass(frozen=True)
class El2n(Scorer):
    """Paper: Paul et al. 2021 (arXiv:2107.07075); error of saved logits, harder is higher.

    `logits` names the field or column with a row's logits, [C]; several runs are joined by "+": "run0+run1".
    Labels are whole numbers in [0, C).
    """

    logits: str = "logits"

    needs: ClassVar[tuple[str, ...]] = ("labels",)
    direction: ClassVar[str] = "higher is harder; in [0, sqrt(2)]"
    cost: ClassVar[str] = "a softmax a row and run; the forward passes are those that saved the logits"

    def check(self) -> None:
        if not all(self.vectors()):
            raise ValueError(f"el2n.logits wants names joined by '+', got {self.logits!r}")

    def vectors(self) -> tuple[str, ...]:
        return tuple(self.logits.split("+"))

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        labels = self._labels(batch)
        total = torch.zeros(len(batch), dtype=torch.float64)
        for name in self.vectors():
            logits = torch.tensor(batch.vectors[name])
            beyond = (labels >= logits.shape[1]).nonzero()
            if len(beyond):
                row = int(beyond[0])
                raise ValueError(
                    f"el2n: uid {batch.uids[row]!r} has label {int(labels[row])}, {name!r} has {logits.shape[1]} logits"
                )
            total += el2n(logits, labels).double()
        return (total / len(self.vectors())).float().numpy()

    def _labels(self, batch: Batch) -> torch.Tensor:
        for uid, label in zip(batch.uids, batch.labels or (), strict=True):
            if isinstance(label, str) or label < 0:
                raise ValueError(f"el2n: want a whole number of at least 0 as label, got {label!r} for uid {uid!r}")
        return torch.tensor(batch.labels or [], dtype=torch.int64)
