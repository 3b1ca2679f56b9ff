"""The answers of a classifier from a checkpoint: logits of each text, or the inputs of its last layer.

    made = "classifier_logits:classifier=checkpoint"
    score(source, [f"logits={made}", f"embedding={made},of=features", "el2n", "grand", "label_error"], out)

One pass serves every scorer that reads logits; for several checkpoints name the columns and join them:
`el2n:logits=run0+run1`. Evaluation mode; a text's numbers are the same in any company up to float32 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from datapruner.scoring.scorer import COSMETIC, Batch, Embedder
from datapruner.training.classifier import Answers, checked_classifier
from datapruner.training.sequence_classifier import SequenceClassifier, load_classifier


@dataclass(frozen=True)
class ClassifierLogits(Embedder):
    """Rule: a text classifier's logits, or its last layer's inputs; `classifier` is a folder or hub id."""

    classifier: str = field(default="distilbert/distilbert-base-uncased-finetuned-sst-2-english", metadata=COSMETIC)
    of: Literal["logits", "features"] = "logits"
    batch_size: int = field(default=32, metadata=COSMETIC)
    device: str = field(default="auto", metadata=COSMETIC)

    direction: ClassVar[str] = "a number for each class, or of the layer below"
    cost: ClassVar[str] = "one forward pass: 2 P FLOP a token for P parameters"
    is_unit: ClassVar[bool] = False

    def check(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"{self._name} wants a batch_size of at least 1, got {self.batch_size}")
        if self.of not in ("logits", "features"):
            raise ValueError(f"{self._name}.of wants logits or features, got {self.of!r}")

    def identity(self) -> dict[str, str]:
        return {"classifier": checked_classifier(self.classifier).identity}

    def score(self, batch: Batch) -> np.ndarray:
        logits, features = self._answers(batch)
        if self.of == "logits":
            return logits.numpy()
        if features is None:
            raise ValueError(f"{self.classifier}: want a last layer that gets one vector a row, got a decoder's")
        return features.numpy()

    def _answers(self, batch: Batch) -> Answers:
        return self._classifier.answers(batch.texts, self.batch_size)

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @cached_property
    def _classifier(self) -> SequenceClassifier:
        return load_classifier(self.classifier, self.device)
