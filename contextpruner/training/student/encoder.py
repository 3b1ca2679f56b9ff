"""A student: a base encoder with some of its layers and pieces, a ranking head and a token head.

Both heads are new, unless the base is a joint encoder itself.

It is saved in the layout of OpenProvence, which `joint_encoder` loads: ranking_model.*, pruning_head.classifier, and a
config.json with the encoder's settings. A student, a run's best model and what is shipped are one kind of folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from contextpruner.models.joint_encoder import MATCHED, JointEncoder, layout_of, load_joint
from contextpruner.models.loading import tokenizer_of
from contextpruner.models.matched_types import TYPES
from contextpruner.training.examples.example import read_training_examples
from contextpruner.training.recipe import Recipe
from contextpruner.training.student.vocabulary import chosen_pieces, count_pieces, cut_tokenizer, read_vocabulary
from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.model_loading import load_model
from prunekernels.io.outputs import atomic_folder

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

KIND = "contextpruner student"
TOKENIZER = "tokenizer.json"
TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json")
# heads that a base encoder has not: they begin at random
NEW = ("classifier", "pooler", "score", "head")
# how far a new head is from zero
SPREAD = 0.02


def make_student(recipe: Recipe, *, overwrite: bool = False) -> Path:
    """Write the student of `recipe` and return its folder; raises ValueError where the base has no such layers."""
    settings, out = recipe.student, recipe.folder("student")
    base = find_checkpoint(settings.base)
    torch.manual_seed(recipe.seed)
    joint = _pruner(base)
    model = _classifier(base) if joint is None else joint.ranker
    _keep_layers(model, settings.layers)
    _without_dropout(model.config)
    with atomic_folder(out, KIND, overwrite=overwrite, inputs=[base.folder, recipe.folder("examples")]) as made:
        if settings.vocabulary:
            kept = _cut_vocabulary(base, model.config, recipe, made)
            _keep_pieces(model, kept)
        else:
            shutil.copyfile(base.folder / TOKENIZER, made / TOKENIZER)
        _write_special(base, made)
        joint = joint or _with_head(model)
        if settings.matched_token_types and not joint.marks_matches:
            _tell_matches(model)
            joint.marks_matches = True
        save_joint(joint, made, max_length=settings.max_length)
    return out


def _pruner(base: Checkpoint) -> JointEncoder | None:
    """The base, if it is a joint encoder already; raises ValueError for one whose ranker has no configuration."""
    layout = layout_of(base)
    if layout is None:
        return None
    joint, _ = load_joint(base, layout)
    if not hasattr(joint.ranker, "config"):
        raise ValueError(f"{base.folder}: want a base whose ranker transformers knows, got the layout {layout!r}")
    return joint


def _classifier(base: Checkpoint) -> PreTrainedModel:
    model = load_model(base, "AutoModelForSequenceClassification", dtype=torch.float32, may_miss=NEW)
    return _one_label(model)


def _with_head(model: PreTrainedModel) -> JointEncoder:
    head = nn.Linear(model.config.hidden_size, 2)
    nn.init.normal_(head.weight, std=SPREAD)
    nn.init.zeros_(head.bias)
    return JointEncoder(model, model.base_model_prefix, head)


def save_joint(
    model: JointEncoder,
    folder: Path,
    *,
    max_length: int,
    threshold: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write config.json and model.safetensors into `folder`, which has the tokenizer."""
    from safetensors.torch import save_file

    tensors = {f"ranking_model.{name}": tensor for name, tensor in model.ranker.state_dict().items()}
    tensors |= {f"pruning_head.classifier.{name}": tensor for name, tensor in model.head.state_dict().items()}
    config: PretrainedConfig = model.ranker.config
    said = {
        "model_type": "open_provence",
        "architectures": ["OpenProvenceForSequenceClassification"],
        "mode": "reranking_pruning",
        "base_model_config": config.to_diff_dict() | {"model_type": config.model_type},
        "pruning_config": {"hidden_size": config.hidden_size, "num_labels": 2, "sentence_pooling": "mean"},
        "num_labels": 1,
        "num_pruning_labels": 2,
        "max_length": max_length,
    }
    if model.temperature != 1:
        said["temperature"] = model.temperature
    if model.marks_matches:
        said[MATCHED] = True
    if threshold is not None:
        said["default_threshold"] = threshold
    (folder / "config.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    save_file(
        {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )


def load_student(folder: Path) -> JointEncoder:
    """The model in a folder that `save_joint` wrote, float32."""
    return load_joint(Checkpoint(folder), "open_provence")[0]


def _one_label(model: PreTrainedModel) -> PreTrainedModel:
    """The same with one ranking logit."""
    if model.config.num_labels == 1:
        return model
    config = type(model.config).from_dict(
        model.config.to_dict() | {"num_labels": 1, "id2label": None, "label2id": None}
    )
    made = type(model)(config)
    prefix = f"{model.base_model_prefix}."
    state = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(prefix)}
    made.load_state_dict(state, strict=False)
    return made


def _keep_layers(model: PreTrainedModel, layers: Sequence[int]) -> None:
    if not layers:
        return
    found = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    depth = model.config.num_hidden_layers
    stack = next((module for module in found if len(module) == depth), None)
    if stack is None or not all(0 <= layer < depth for layer in layers) or [*layers] != sorted(set(layers)):
        raise ValueError(f"layers want ascending numbers from 0 to {depth - 1}, got {[*layers]}")
    kept = [stack[layer] for layer in layers]
    del stack[len(kept) :]
    for place, layer in enumerate(kept):
        stack[place] = layer
    model.config.num_hidden_layers = len(kept)


def _tell_matches(model: PreTrainedModel) -> None:
    """Two more token types, which begin as the two that there are."""
    held = [
        module for module in model.modules() if isinstance(getattr(module, "token_type_embeddings", None), nn.Embedding)
    ]
    if len(held) != 1 or held[0].token_type_embeddings.num_embeddings != 2:
        raise ValueError("matched_token_types want an encoder with two token types, as BERT has")
    old = held[0].token_type_embeddings
    made = nn.Embedding(TYPES, old.embedding_dim)
    with torch.no_grad():
        made.weight.copy_(old.weight.repeat(TYPES // 2, 1))
    held[0].token_type_embeddings = made
    model.config.type_vocab_size = TYPES


def _without_dropout(config: PretrainedConfig) -> None:
    """With so few epochs it costs more than it gives."""
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, float):
            setattr(config, name, 0.0)


def _cut_vocabulary(base: Checkpoint, config: PretrainedConfig, recipe: Recipe, made: Path) -> np.ndarray:
    tokenizer = tokenizer_of(base, config)
    counts = count_pieces(tokenizer, _texts(recipe))
    pieces, special = read_vocabulary(base.folder / TOKENIZER)
    kept = chosen_pieces(pieces, special, counts, recipe.student.vocabulary)
    cut_tokenizer(base.folder / TOKENIZER, kept, made / TOKENIZER)
    return kept


def _texts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Every different text that is learnt from, with its language."""
    seen: set[int] = set()
    for example in read_training_examples(recipe.folder("examples") / "train.jsonl"):
        for text in (example.question, *(document.text for document in example.documents)):
            if hash(text) not in seen:
                seen.add(hash(text))
                yield example.language, text


def _keep_pieces(model: PreTrainedModel, kept: np.ndarray) -> None:
    old = model.get_input_embeddings()
    made = nn.Embedding(len(kept), old.embedding_dim)
    with torch.no_grad():
        made.weight.copy_(old.weight[torch.from_numpy(kept)])
    model.set_input_embeddings(made)
    model.config.vocab_size = len(kept)
    places = {int(place): number for number, place in enumerate(kept)}
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        old_id = getattr(model.config, name, None)
        if old_id is not None:
            setattr(model.config, name, places.get(old_id))


def _write_special(base: Checkpoint, made: Path) -> None:
    """A tokenizer_config.json that names the special tokens, for transformers' tokenizers to know them."""
    own = base.folder / "tokenizer_config.json"
    if own.is_file():
        shutil.copyfile(own, made / own.name)
        return
    added = json.loads((made / TOKENIZER).read_text("utf-8"))["added_tokens"]
    known = {token["content"] for token in added}
    names = {"cls_token": ("<s>", "[CLS]"), "sep_token": ("</s>", "[SEP]"), "pad_token": ("<pad>", "[PAD]"),
             "unk_token": ("<unk>", "[UNK]"), "mask_token": ("<mask>", "[MASK]")}  # fmt: skip
    said = {name: next((one for one in options if one in known), None) for name, options in names.items()}
    said = {name: value for name, value in said.items() if value is not None}
    # whichever class its kind of model has, the file is taken as it is
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **said}
    (made / own.name).write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
