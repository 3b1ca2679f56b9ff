"""A classifier of images from a folder or hub id. Pictures are prepared as the folder's own preprocessor says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datapruner.corpus.pictures import pictures
from datapruner.training.classifier import Answers, Classifier, Inputs, checked_classifier, load_model_and_head
from prunekernels.extras import require
from prunekernels.io.model_loading import loading_errors

if TYPE_CHECKING:
    from transformers import BaseImageProcessor


@dataclass(frozen=True)
class ImageClassifier(Classifier):
    """A loaded model with its image processor."""

    processor: BaseImageProcessor

    def answers(self, images: Sequence[bytes], batch_size: int) -> Answers:
        """Logits and the head's inputs of encoded `images`, in their order; zeros for broken ones."""
        return self.answers_of(len(images), self._batches(images, batch_size))

    def _batches(self, images: Sequence[bytes], batch_size: int) -> Iterator[tuple[Sequence[int], Inputs]]:
        found = [(row, picture) for row, picture in enumerate(pictures(images)) if picture is not None]
        for start in range(0, len(found), batch_size):
            rows, some = zip(*found[start : start + batch_size], strict=True)
            pixels = self.processor(images=[*some], return_tensors="pt")["pixel_values"]
            yield rows, {"pixel_values": pixels.to(self.model.device)}


def load_image_classifier(name: str, device: str) -> ImageClassifier:
    """The classifier `name`; raises ValueError where it cannot be loaded, or its logits are not of one linear head."""
    checkpoint = checked_classifier(name)
    model, head = load_model_and_head(checkpoint, "AutoModelForImageClassification", device)
    with loading_errors(checkpoint.folder, "an image processor"):
        processor = require("transformers", "data").AutoImageProcessor.from_pretrained(
            checkpoint.folder, trust_remote_code=False
        )
    classifier = ImageClassifier(model, head, processor)
    pillow = require("PIL.Image", "data")
    pixels = processor(images=[pillow.new("RGB", (64, 64), (90, 160, 40))], return_tensors="pt")["pixel_values"]
    probe = classifier.answers_of(1, [([0], {"pixel_values": pixels.to(model.device)})])
    classifier.check_head(*probe, checkpoint.folder)
    return classifier
