"""A classifier of texts from a folder or hub id. What is longer than the model's positions is cut at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from datapruner.corpus.token_counter import load_tokenizer
from datapruner.training.classifier import Answers, Classifier, Inputs, checked_classifier, load_model_and_head

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class SequenceClassifier(Classifier):
    """A loaded model with its tokenizer."""

    tokenizer: PreTrainedTokenizerBase

    def answers(self, texts: Sequence[str], batch_size: int) -> Answers:
        """Logits and the head's inputs, in the order of `texts`."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        batches = (order[first : first + batch_size] for first in range(0, len(order), batch_size))
        return self.answers_of(len(texts), ((rows, self.encoded([texts[row] for row in rows])) for rows in batches))

    def rows(self, texts: Sequence[str], labels: torch.Tensor) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """Each text alone, with its label [1]."""
        for text, label in zip(texts, labels, strict=True):
            yield self.encoded([text]), label[None].to(self.model.device)

    def encoded(self, texts: Sequence[str]) -> Inputs:
        """What the model takes of `texts`, padded."""
        longest = getattr(self.model.config, "max_position_embeddings", None)
        # a tokenizer that knows no length says 10^30
        known = [length for length in (longest, self.tokenizer.model_max_length) if length and length < 1 << 30]
        options = {"truncation": True, "max_length": min(known)} if known else {}
        found = self.tokenizer([*texts], padding=True, return_tensors="pt", **options)
        empty = (found["attention_mask"].sum(1) == 0).nonzero()
        if len(empty):
            raise ValueError(f"want a text with tokens for this classifier, got {texts[int(empty[0])]!r:.80}")
        return dict(found.to(self.model.device))


def load_classifier(name: str, device: str) -> SequenceClassifier:
    """The classifier `name`; raises ValueError where it cannot be loaded, or its logits are not of one linear head."""
    checkpoint = checked_classifier(name)
    model, head = load_model_and_head(checkpoint, "AutoModelForSequenceClassification", device)
    classifier = SequenceClassifier(model, head, load_tokenizer(checkpoint.folder))
    classifier.check_head(*classifier.answers(["a probe"], 1), checkpoint.folder)
    return classifier
