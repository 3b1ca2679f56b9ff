"""A classifier from a folder or hub id: its logits, and the inputs of its last layer.

Safetensors only; no code of a model folder is ever run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.model_loading import check_no_code, load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Inputs: TypeAlias = "dict[str, torch.Tensor]"
Answers: TypeAlias = "tuple[torch.Tensor, torch.Tensor | None]"


@dataclass(frozen=True)
class Classifier:
    """A loaded model, in evaluation mode, and its last layer."""

    model: PreTrainedModel
    head: torch.nn.Linear

    @torch.inference_mode()
    def answers_of(self, n: int, batches: Iterable[tuple[Sequence[int], Inputs]]) -> Answers:
        """Logits [n, C] and the head's inputs [n, D], float32 on the CPU, of `batches` with the numbers of their rows.

        Rows that are in none have zeros. The inputs are None where the head does not get one vector a row, as in
        decoders that are asked at every token.
        """
        logits = torch.zeros(n, self.head.out_features)
        features: torch.Tensor | None = torch.zeros(n, self.head.in_features)
        caught: list[torch.Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
        try:
            for rows, inputs in batches:
                caught.clear()
                logits[[*rows]] = self.model(**inputs).logits.float().cpu()
                if features is not None and caught[-1].shape == features[[*rows]].shape:
                    features[[*rows]] = caught[-1].float().cpu()
                else:
                    features = None
        finally:
            hook.remove()
        return logits, features

    def check_head(self, logits: torch.Tensor, features: torch.Tensor | None, folder: object) -> None:
        """Raise ValueError unless the logits are those of the head, where its inputs are known."""
        if features is None:
            return
        weight, bias = self.head.weight.detach().cpu(), self.head.bias
        own = torch.nn.functional.linear(features, weight, None if bias is None else bias.detach().cpu())
        if not torch.allclose(own, logits, rtol=1e-4, atol=1e-5):
            raise ValueError(f"{folder}: want logits that are those of the last linear layer, got others")


def checked_classifier(name: str) -> Checkpoint:
    """The folder of the model `name`; raises ValueError for code, pickles and broken files, before any is loaded."""
    checkpoint = find_checkpoint(name)
    check_no_code(checkpoint)
    # reads the header of each file of weights
    _ = checkpoint.shapes
    return checkpoint


def load_model_and_head(checkpoint: Checkpoint, kind: str, device: str) -> tuple[PreTrainedModel, torch.nn.Linear]:
    """The model, of the class `kind` of transformers, and its last linear layer; "auto" is CUDA where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(checkpoint, kind, torch.float32).to(device).eval()
    classes = model.config.num_labels
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    heads = [module for module in linear if module.out_features == classes]
    if not heads:
        raise ValueError(f"{checkpoint.folder}: want a linear layer of {classes} classes at the end, got none")
    return model, heads[-1]
