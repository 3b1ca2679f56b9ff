"""Confident learning of Northcutt et al. 2021 (arXiv:1911.00068): rows whose label is probably another one.

    t_j  = mean of p_j over the rows with label j                                     what confident means for class j
    j(x) = argmax of p_j over the classes with p_j >= t_j                             the class that x confidently is
    x is an error where j(x) is there and is neither its label nor below it in p      off the diagonal of the joint

with p the mean of the runs' probabilities. The score is the quality of the label, minus 1 for every error:

    normalized_margin   (p_y - max_{c != y} p_c + 1) / 2          self_confidence   p_y

so that `threshold:minimum=0` drops exactly the errors, and a budget drops them first, the surest of them before the
others. The probabilities must be out of sample, as from cross-validation: a model that learned a wrong label gives it
back. `suggested` is j(x), or -1 for rows that are confidently nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from datapruner.scorers._classifier import ClassifierScorer
from datapruner.scoring.scorer import NOTHING, Batch, State

# what float32 logits may lose on the way: a class whose rows are all alike must reach its own mean
_ROUNDING = 1e-6
# of a probability, when many are summed
_STEPS = 2.0**30


@dataclass(frozen=True)
class LabelError(ClassifierScorer):
    """Paper: Northcutt et al. 2021 (arXiv:1911.00068); quality of the label, below 0 where it is probably wrong.

    `rank`: what orders the rows, normalized_margin or self_confidence.
    """

    rank: Literal["normalized_margin", "self_confidence"] = "normalized_margin"

    direction: ClassVar[str] = "higher is more surely right; below 0 another label is likelier; in [-1, 1]"
    cost: ClassVar[str] = "two passes over the logits; the forward passes are those that made them"
    default_selector: ClassVar[str] = "threshold:minimum=0.0"
    out_of_sample: ClassVar[bool] = True

    def check(self) -> None:
        super().check()
        if self.rank not in ("normalized_margin", "self_confidence"):
            raise ValueError(f"label_error.rank wants normalized_margin or self_confidence, got {self.rank!r}")

    def fit(self, corpus: Iterable[Batch]) -> State:
        names = super().fit(corpus)
        sums = counts = torch.zeros(0, dtype=torch.int64)
        for batch in corpus:
            if len(batch):
                labels = self.numbered(batch, names)
                probabilities = self._probabilities(batch, labels)
                if not len(sums):
                    sums = counts = torch.zeros(probabilities.shape[1], dtype=torch.int64)
                # whole numbers: no order of the rows is rounded otherwise
                own = (probabilities.gather(1, labels[:, None])[:, 0] * _STEPS).round().long()
                sums = sums.index_add(0, labels, own)
                counts = counts + labels.bincount(minlength=len(counts))
        means = sums / _STEPS / counts
        # of a class without rows nobody is confident
        return {**names, "thresholds": means.nan_to_num(torch.inf).double().numpy()}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        labels, probabilities = self._read(batch, state)
        if not len(batch):
            return np.zeros(0, np.float32)
        own = probabilities.gather(1, labels[:, None])[:, 0]
        others = probabilities.scatter(1, labels[:, None], 0).amax(1)
        quality = own if self.rank == "self_confidence" else (own - others + 1) / 2
        found = self._confident(probabilities, state)
        is_error = (found >= 0) & (found != labels) & (others > own)
        return (quality - is_error.double()).float().numpy()

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`suggested`: the number of the class that a row confidently is, int32, -1 for none."""
        _, probabilities = self._read(batch, state)
        return {"suggested": self._confident(probabilities, state).int().numpy()}

    def _read(self, batch: Batch, state: State) -> tuple[torch.Tensor, torch.Tensor]:
        if "thresholds" not in state:
            raise ValueError("label_error wants the state that fit(corpus) returned")
        labels = self.numbered(batch, state)
        return labels, self._probabilities(batch, labels)

    def _probabilities(self, batch: Batch, labels: torch.Tensor) -> torch.Tensor:
        """The mean over the runs, float64 [n, C]."""
        runs = [logits.double().softmax(-1) for logits in self.runs(batch, labels)]
        return torch.stack(runs).mean(0)

    def _confident(self, probabilities: torch.Tensor, state: State) -> torch.Tensor:
        """The number of the class that each row confidently is, int64 [n]; -1 for none."""
        if not len(probabilities):
            return torch.zeros(0, dtype=torch.int64)
        reached = probabilities >= torch.tensor(state["thresholds"]) - _ROUNDING
        best = probabilities.masked_fill(~reached, -1).argmax(1)
        return torch.where(reached.any(1), best, -1)
