"""Transformers models and tokenizers as labelers use them: safetensors, no remote code, on one device.

`precision` is the arithmetic of the model: "float32", "bfloat16", "float16", or "int8", CPU only: the linear layers in
8 bits, with a scale for each token of what comes in (`int8_linear`).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Literal

import torch

from contextpruner.models.int8_linear import in_int8
from prunekernels.extras import require
from prunekernels.io.checkpoint import Checkpoint, folder_of
from prunekernels.io.model_loading import load_model, loading_errors, quiet
from prunekernels.io.module_folders import VOCABULARIES

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["float32", "bfloat16", "float16", "int8"]
Task = Literal["SequenceClassification", "TokenClassification", "CausalLM", ""]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.float32}

# where a checkpoint without tokenizer files names the one that it was trained with
TOKENIZER_FIELDS = ("tokenizer_name_or_path", "_name_or_path", "base_model_name_or_path")
TOKENIZER_FILES = ["*.json", "*.txt", "*.model"]

# families that count positions from behind their padding id
OFFSET = ("roberta", "camembert", "mpnet", "longformer")


def tokenizer_of(checkpoint: Checkpoint, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """The fast tokenizer of `checkpoint`, or of the one that its config names; raises ValueError without offsets.

    It never truncates or pads, and what looks like a special token is plain text to it.
    """
    folder = checkpoint.folder
    if not has_vocabulary(folder):
        other = _named_tokenizer(checkpoint)
        folder = folder_of(other, TOKENIZER_FILES) if other else folder
    # transformers would make up an empty tokenizer
    if not has_vocabulary(folder):
        raise ValueError(f"{folder}: want a tokenizer ({', '.join(VOCABULARIES)}), got none")
    automatic = require("transformers", "context").AutoTokenizer
    with quiet(), loading_errors(folder, "a tokenizer that transformers can load"):
        # with the config given, no model type has to be known by name
        made = automatic.from_pretrained(folder, config=config, trust_remote_code=False)
    if not made.is_fast:
        raise ValueError(f"{folder}: want a tokenizer with character offsets (tokenizer.json), got a slow one")
    made.backend_tokenizer.no_truncation()
    made.backend_tokenizer.no_padding()
    made.backend_tokenizer.encode_special_tokens = True
    return made


def _named_tokenizer(checkpoint: Checkpoint) -> str | None:
    """The hub id of the tokenizer that config.json names; raises ValueError for nothing but paths of its maker's."""
    named = [checkpoint.config.get(field) for field in TOKENIZER_FIELDS]
    names = [value for value in named if isinstance(value, str) and value]
    for name in names:
        way, elsewhere = PurePosixPath(name), PureWindowsPath(name)
        if not way.is_absolute() and not elsewhere.anchor and ".." not in (*way.parts, *elsewhere.parts):
            return name
    if names:
        raise ValueError(
            f"{checkpoint.folder}: want a tokenizer ({', '.join(VOCABULARIES)}), got none, "
            f"and a path in config.json is not followed: {names[0]!a:.80}"
        )
    return None


def has_vocabulary(folder: Path) -> bool:
    """Whether a tokenizer can be made of the files of `folder`."""
    return any(path.is_file() for pattern in VOCABULARIES for path in folder.glob(pattern))


def model_of(checkpoint: Checkpoint, task: Task) -> PreTrainedModel:
    """The model of `checkpoint` with the head of `task`, in float32; raises ValueError where the weights do not fit."""
    # a bare encoder may come without the pooler that nobody asks
    missing = () if task else ("pooler",)
    return load_model(checkpoint, f"AutoModel{'For' if task else ''}{task}", dtype=torch.float32, may_miss=missing)


def max_tokens_of(config: PretrainedConfig, wanted: int) -> int:
    """How many tokens the model takes at a time: `wanted`, or all the positions that it has."""
    positions = getattr(config, "max_position_embeddings", None)
    # without a table of positions there is no end of it
    if positions is None or positions < 1:
        return wanted
    is_offset = any(name in config.model_type for name in OFFSET)
    return min(wanted, positions - (config.pad_token_id + 1 if is_offset else 0))


def to_device(model: torch.nn.Module, precision: Precision, device: str | None) -> torch.nn.Module:
    """`model` for inference, in `precision`, on `device`: by default the GPU where there is one."""
    where = device or ("cuda" if torch.cuda.is_available() and precision != "int8" else "cpu")
    if precision == "int8":
        if where != "cpu":
            raise ValueError(f"int8 runs on the CPU: want device cpu, got {where}")
        return in_int8(model.eval())
    return model.to(device=where, dtype=DTYPES[precision]).eval()


def batch_size_for(precision: Precision, batch_size: int) -> int:
    """`batch_size`, but 1 for int8: rounding makes more of the last bits that a batch of another shape has."""
    return 1 if precision == "int8" else batch_size
