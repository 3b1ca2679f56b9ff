"""The linear layers that a ColBERT applies to the vectors of an encoder, as sentence-transformers lays them out."""

from __future__ import annotations

from torch import nn

from prunekernels.io.checkpoint import Checkpoint
from prunekernels.io.model_loading import check_complete, check_state
from prunekernels.io.module_folders import modules_of


def projection_of(checkpoint: Checkpoint, width: int) -> list[nn.Linear]:
    """The linear layers that a ColBERT applies to every token, in order; none where the encoder's output is it.

    `width` is that of the encoder's vectors. Raises ValueError where weights are missing, left over or do not fit.
    """
    if "linear.weight" in checkpoint.shapes:
        return [_linear(checkpoint, width)]
    modules = modules_of(checkpoint.folder)
    # what stands behind a pooling is for whole texts
    pooling = next((place for place, module in enumerate(modules) if module.kind.endswith("Pooling")), len(modules))
    layers = []
    for module in modules[:pooling]:
        if module.kind.endswith("Dense"):
            layers.append(_dense(Checkpoint(module.folder), width))
            width = layers[-1].out_features
    return layers


def _dense(checkpoint: Checkpoint, width: int) -> nn.Linear:
    activation = str(checkpoint.config.get("activation_function", "Tanh"))
    if not activation.endswith("Identity") or checkpoint.config.get("use_residual"):
        raise ValueError(f"{checkpoint.folder}: want a Dense without activation or residual, got {checkpoint.config}")
    left = sorted(name for name in checkpoint.shapes if not name.startswith("linear."))
    if left:
        raise ValueError(f"{checkpoint.folder}: want only the weights of a linear layer, got also {left[0]!a:.80}")
    return _linear(checkpoint, width)


def _linear(checkpoint: Checkpoint, width: int) -> nn.Linear:
    tensors = {name: tensor for name, tensor in checkpoint.tensors().items() if name.startswith("linear.")}
    check_complete(checkpoint.folder, {"linear.weight"} - {*tensors})
    layer = nn.Linear(width, len(tensors["linear.weight"]), bias="linear.bias" in tensors)
    check_state(
        checkpoint.folder,
        layer,
        {name.removeprefix("linear."): tensor.float() for name, tensor in tensors.items()},
    )
    return layer
