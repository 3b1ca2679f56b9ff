"""A classifier of texts from a folder or hub id: its logits, and the inputs of its last layer.

Safetensors only; no code of a model folder is ever run. What is longer than the model's positions is cut at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

from datapruner.corpus.token_counter import load_tokenizer
from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.model_loading import check_no_code, load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Inputs: TypeAlias = "dict[str, torch.Tensor]"


@dataclass(frozen=True)
class SequenceClassifier:
    """A loaded model, in evaluation mode."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    head: torch.nn.Linear

    @torch.inference_mode()
    def answers(self, texts: Sequence[str], batch_size: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits [n, C] and the head's inputs [n, D], float32 on the CPU, in the order of `texts`.

        The inputs are None where the head does not get one vector a text, as in decoders that are asked at every token.
        """
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        logits = torch.zeros(len(texts), self.head.out_features)
        features: torch.Tensor | None = torch.zeros(len(texts), self.head.in_features)
        caught: list[torch.Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
        try:
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                caught.clear()
                logits[rows] = self.model(**self.encoded([texts[row] for row in rows])).logits.float().cpu()
                if features is not None and caught[-1].shape == features[rows].shape:
                    features[rows] = caught[-1].float().cpu()
                else:
                    features = None
        finally:
            hook.remove()
        return logits, features

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


def checked_classifier(name: str) -> Checkpoint:
    """The folder of the model `name`; raises ValueError for code, pickles and broken files, before any is loaded."""
    checkpoint = find_checkpoint(name)
    check_no_code(checkpoint)
    # reads the header of each file of weights
    _ = checkpoint.shapes
    return checkpoint


def load_classifier(name: str, device: str) -> SequenceClassifier:
    """The classifier `name`; raises ValueError where it cannot be loaded, or its logits are not of one linear head."""
    checkpoint = checked_classifier(name)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(checkpoint, "AutoModelForSequenceClassification", torch.float32).to(device).eval()
    classes = model.config.num_labels
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    heads = [module for module in linear if module.out_features == classes]
    if not heads:
        raise ValueError(f"{checkpoint.folder}: want a linear layer of {classes} classes at the end, got none")
    classifier = SequenceClassifier(model, load_tokenizer(checkpoint.folder), heads[-1])
    logits, features = classifier.answers(["a probe"], 1)
    if features is not None:
        weight, bias = heads[-1].weight.detach().cpu(), heads[-1].bias
        own = torch.nn.functional.linear(features, weight, None if bias is None else bias.detach().cpu())
        if not torch.allclose(own, logits, rtol=1e-4, atol=1e-5):
            raise ValueError(f"{checkpoint.folder}: want logits that are those of the last linear layer, got others")
    return classifier
