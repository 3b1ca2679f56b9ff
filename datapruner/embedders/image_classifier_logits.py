"""The answers of an image classifier from a checkpoint: logits of each picture, or the inputs of its last layer.

    made = "image_classifier_logits:classifier=checkpoint"
    score("photos", [f"logits={made}", f"embedding={made},of=features", "el2n", "grand", "label_error"], out)

One pass serves every scorer that reads logits, as `classifier_logits` does for texts. A broken image has zeros: no
class is likelier than another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from datapruner.embedders.classifier_logits import ClassifierLogits
from datapruner.scoring.scorer import COSMETIC, Batch
from datapruner.training.classifier import Answers
from datapruner.training.image_classifier import ImageClassifier, load_image_classifier


@dataclass(frozen=True)
class ImageClassifierLogits(ClassifierLogits):
    """Rule: an image classifier's logits, or its last layer's inputs; `classifier` is a folder or hub id."""

    classifier: str = field(default="google/vit-base-patch16-224", metadata=COSMETIC)

    needs: ClassVar[tuple[str, ...]] = ("images",)
    cost: ClassVar[str] = "one decoding and one forward pass a picture"

    def _answers(self, batch: Batch) -> Answers:
        return self._images.answers(batch.images or (), self.batch_size)

    @cached_property
    def _images(self) -> ImageClassifier:
        return load_image_classifier(self.classifier, self.device)
