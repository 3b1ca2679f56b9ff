"""The modules of a sentence-transformers model, as its modules.json lists them: what they are and where they lie.

Only modules of sentence-transformers itself are run, and only from safetensors: releases before 6 import a folder's
own code without asking, and all of them read a pickle where a module has nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from torch import nn

from contextpruner.models.checkpoint import Checkpoint
from contextpruner.models.loading import check_complete, has_vocabulary


class SentenceTransformerModule(NamedTuple):
    """A module: the dotted name of its class and its folder."""

    kind: str
    folder: Path


def modules_of(checkpoint: Checkpoint) -> list[SentenceTransformerModule]:
    """The modules of `checkpoint` in the order in which they run; none where it has no modules.json."""
    path = checkpoint.folder / "modules.json"
    listed = json.loads(path.read_text("utf-8")) if path.is_file() else []
    if not isinstance(listed, list) or not all(isinstance(module, dict) for module in listed):
        raise ValueError(f"{path}: want a list of modules, got {listed!r:.80}")
    return [
        SentenceTransformerModule(str(item.get("type", "")), _inside(checkpoint.folder, str(item.get("path", ""))))
        for item in listed
    ]


def check_modules(checkpoint: Checkpoint) -> None:
    """Refuse code and pickles of the folder's own, and a model without a tokenizer."""
    folders = [checkpoint.folder]
    for module in modules_of(checkpoint):
        if not module.kind.startswith("sentence_transformers."):
            raise ValueError(f"{checkpoint.folder}: want modules of sentence-transformers, got {module.kind}")
        folders.append(module.folder)
    for folder in folders:
        # weights in safetensors beside a pickle are what is read; a folder of settings has neither
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        if pickles and not any(folder.glob("*.safetensors")):
            raise ValueError(f"{folder}: want safetensors weights, got {pickles[0]}, a pickle, which is never read")
    # transformers would make up an empty tokenizer
    if not any(has_vocabulary(folder) for folder in folders):
        raise ValueError(f"{checkpoint.folder}: want a tokenizer, got none")


def projection_of(checkpoint: Checkpoint) -> list[nn.Linear]:
    """The linear layers that a ColBERT applies to every token, in order; none where the encoder's output is it."""
    if "linear.weight" in checkpoint.shapes:
        return [_linear(checkpoint)]
    kinds = modules_of(checkpoint)
    # what stands behind a pooling is for whole texts
    pooling = next((place for place, module in enumerate(kinds) if module.kind.endswith("Pooling")), len(kinds))
    return [_dense(Checkpoint(module.folder)) for module in kinds[:pooling] if module.kind.endswith("Dense")]


def _dense(checkpoint: Checkpoint) -> nn.Linear:
    activation = str(checkpoint.config.get("activation_function", "Tanh"))
    if not activation.endswith("Identity") or checkpoint.config.get("use_residual"):
        raise ValueError(f"{checkpoint.folder}: want a Dense without activation or residual, got {checkpoint.config}")
    return _linear(checkpoint)


def _linear(checkpoint: Checkpoint) -> nn.Linear:
    tensors = {name: tensor for name, tensor in checkpoint.tensors().items() if name.startswith("linear.")}
    check_complete(checkpoint, {"linear.weight"} - {*tensors})
    weight = tensors["linear.weight"]
    layer = nn.Linear(weight.shape[1], len(weight), bias="linear.bias" in tensors)
    layer.load_state_dict({name.removeprefix("linear."): tensor.float() for name, tensor in tensors.items()})
    return layer


def _inside(folder: Path, path: str) -> Path:
    """A folder of the checkpoint's, and never a way out of it."""
    if ".." in Path(path).parts or Path(path).is_absolute():
        raise ValueError(f"{folder}: modules.json wants folders inside, got {path!r}")
    return folder / path
