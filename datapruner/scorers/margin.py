"""The margin of a classifier's answer: how far the label stands above the best other class.

    margin = p_y - max_{c != y} p_c,    p = softmax(logits), the mean over the runs;    of=logits takes z for p

Higher is easier; below 0 another class is preferred. Paul et al. 2021 (arXiv:2107.07075) compare it with EL2N; the mean
over a training of the margin of logits is `aum`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from datapruner.scorers._classifier import ClassifierScorer
from datapruner.scoring.scorer import NOTHING, Batch, State


@dataclass(frozen=True)
class Margin(ClassifierScorer):
    """Paper: Paul et al. 2021 (arXiv:2107.07075); the label's probability above the best other class's."""

    of: Literal["probabilities", "logits"] = "probabilities"

    direction: ClassVar[str] = "higher is easier; of probabilities in [-1, 1]"
    cost: ClassVar[str] = "a softmax a row and run; the forward passes are those that made the logits"
    default_selector: ClassVar[str] = "bottom"

    def check(self) -> None:
        super().check()
        if self.of not in ("probabilities", "logits"):
            raise ValueError(f"margin.of wants probabilities or logits, got {self.of!r}")

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        labels = self.numbered(batch, state)
        total, count = torch.zeros(len(batch), dtype=torch.float64), 0
        for logits in self.runs(batch, labels):
            values = logits.double().softmax(-1) if self.of == "probabilities" else logits.double()
            own = values.gather(1, labels[:, None])[:, 0]
            # a class alone has no rival
            others = values.scatter(1, labels[:, None], -torch.inf).amax(1) if values.shape[1] > 1 else own
            total, count = total + own - others, count + 1
        return (total / count).float().numpy()
