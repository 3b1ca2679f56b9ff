"""GraNd of the last layer, the gradient norm of Paul et al. 2021 (arXiv:2107.07075), from logits and features.

    grand = || softmax(logits) - onehot(label) ||_2 * sqrt(1 + ||h||_2^2),    the mean over the runs

with h the inputs of a linear last layer with bias: the norm of its gradient in closed form, which no backward pass is
needed for. `full_grand` takes the gradient of all layers. Higher means harder. Of a network that has not been trained
the norm says little more than that of the input, and the ranking that the paper reports there has not been reproduced
(Kirsch 2023, arXiv:2303.14753): take logits behind an epoch at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._classifier import ClassifierScorer
from datapruner.scoring.scorer import NOTHING, Batch, State
from prunekernels.grand import grand


@dataclass(frozen=True)
class Grand(ClassifierScorer):
    """Paper: Paul et al. 2021 (arXiv:2107.07075); norm of the last layer's gradient, harder is higher.

    `features` names the inputs of that layer, [D], of each run of `logits`: "h0+h1" beside "run0+run1".
    """

    features: str = "embedding"

    direction: ClassVar[str] = "higher is harder; at least 0"
    cost: ClassVar[str] = (
        "a softmax and a norm a row and run; the forward passes are those that made logits and features"
    )

    def check(self) -> None:
        super().check()
        wanted = self.logits.count("+")
        if not self.ensemble and (not all(self.features.split("+")) or self.features.count("+") != wanted):
            raise ValueError(f"grand wants features for each of {self.logits!r}, got {self.features!r}")

    def vectors(self) -> tuple[str, ...]:
        return () if self.ensemble else (*super().vectors(), *self.features.split("+"))

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        labels = self.numbered(batch, state)
        if self.ensemble:
            features = self._ensemble.rows("features", batch.keys, batch.uids)
        else:
            features = (batch.vectors[name] for name in self.features.split("+"))
        total, count = torch.zeros(len(batch), dtype=torch.float64), 0
        for logits, inputs in zip(self.runs(batch, labels), features, strict=True):
            total, count = total + grand(logits, labels, torch.from_numpy(inputs.copy())).double(), count + 1
        return (total / count).float().numpy()
