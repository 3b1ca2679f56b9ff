"""GraNd of Paul et al. 2021 (arXiv:2107.07075) over all parameters of a text classifier, from its checkpoint.

    full_grand = || gradient of the cross-entropy of one row over all parameters ||_2

in evaluation mode; higher means harder. It costs a forward and a backward pass for each row: `grand` is the last
layer's part of it in closed form, for the price of reading logits and features; of small CNNs on CIFAR-10 the two rank
alike by a Spearman correlation of .66 (`benchmarks/studies/grand_agreement.py`). Take a checkpoint behind an epoch at
least: what the paper reports of untrained networks has not been reproduced (Kirsch 2023, arXiv:2303.14753). For models
that are no text classifiers: `datapruner.training.gradient_norms`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from datapruner.scoring.scorer import COSMETIC, Batch, Scorer
from datapruner.training.classifier import Inputs, checked_classifier
from datapruner.training.gradient_norms import gradient_norms
from datapruner.training.sequence_classifier import SequenceClassifier, load_classifier


@dataclass(frozen=True)
class FullGrand(Scorer):
    """Paper: Paul et al. 2021 (arXiv:2107.07075); norm of the gradient of all layers, harder is higher.

    `classifier` is a folder or hub id. Labels are whole numbers, or names of its id2label.
    """

    classifier: str = field(default="distilbert/distilbert-base-uncased-finetuned-sst-2-english", metadata=COSMETIC)
    device: str = field(default="auto", metadata=COSMETIC)

    needs: ClassVar[tuple[str, ...]] = ("texts", "labels")
    direction: ClassVar[str] = "higher is harder; at least 0"
    cost: ClassVar[str] = "a forward and a backward pass a row: about 6 P FLOP a token for P parameters"

    def identity(self) -> dict[str, str]:
        return {"classifier": checked_classifier(self.classifier).identity, "variant": "one checkpoint, all parameters"}

    def score(self, batch: Batch) -> np.ndarray:
        rows = self._classifier.rows(batch.texts, self._numbered(batch))

        def loss(model: torch.nn.Module, row: tuple[Inputs, torch.Tensor]) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(model(**row[0]).logits, row[1])

        return gradient_norms(self._classifier.model, rows, loss)

    def _numbered(self, batch: Batch) -> torch.Tensor:
        names = self._classifier.model.config.label2id
        classes, found = self._classifier.head.out_features, []
        for uid, label in zip(batch.uids, batch.labels or (), strict=True):
            number = names.get(label) if isinstance(label, str) else label
            if number is None or not 0 <= number < classes:
                wanted = f"a whole number in [0, {classes}) or one of {', '.join(map(str, names)):.200}"
                raise ValueError(f"full_grand: want {wanted} as label, got {label!r} for uid {uid!r}")
            found.append(number)
        return torch.tensor(found, dtype=torch.int64)

    @cached_property
    def _classifier(self) -> SequenceClassifier:
        return load_classifier(self.classifier, self.device)
