"""Transformers models and tokenizers as labelers use them: safetensors, no remote code, on one device.

`precision` is the arithmetic of the model: "float32", "bfloat16", "float16", or "int8", CPU only: every linear
layer's weights in 8 bits, its input quantized as it comes (torch's dynamic form). Probabilities stay within 0.1 of
float32: measured on MiniLM 0.08 at most and 0.02 on average, over twice as fast. A layer's input is scaled by its
largest entry over all rows, so that rows have to run one at a time to be independent.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

import torch

from contextpruner.extras import require
from contextpruner.models.checkpoint import Checkpoint, folder_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["float32", "bfloat16", "float16", "int8"]
Task = Literal["SequenceClassification", "TokenClassification", "CausalLM", ""]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.float32}

# where a checkpoint without tokenizer files names the one that it was trained with
TOKENIZER_FIELDS = ("tokenizer_name_or_path", "_name_or_path", "base_model_name_or_path")
TOKENIZER_FILES = ["*.json", "*.txt", "*.model"]
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")

# families that count positions from behind their padding id
OFFSET = ("roberta", "camembert", "mpnet", "longformer")

LAYER = re.compile(r"\.(\d+)\.")


class Report(TypedDict):
    """What transformers says of a load; of other sizes the name, the one in the file and the one in the model."""

    missing_keys: set[str]
    unexpected_keys: set[str]
    mismatched_keys: set[tuple[str, torch.Size, torch.Size]]


def tokenizer_of(checkpoint: Checkpoint, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """The fast tokenizer of `checkpoint`, or of the one that its config names; raises ValueError without offsets.

    It never truncates or pads, and what looks like a special token is plain text to it.
    """
    folder = checkpoint.folder
    if not has_vocabulary(folder):
        named = [checkpoint.config.get(field) for field in TOKENIZER_FIELDS]
        other = next((value for value in named if isinstance(value, str) and value), None)
        folder = folder_of(other, TOKENIZER_FILES) if other else folder
    # transformers would make up an empty tokenizer
    if not has_vocabulary(folder):
        raise ValueError(f"{folder}: want a tokenizer ({', '.join(VOCABULARIES)}), got none")
    with quiet():
        # with the config given, no model type has to be known by name
        made = require("transformers").AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
    if not made.is_fast:
        raise ValueError(f"{folder}: want a tokenizer with character offsets (tokenizer.json), got a slow one")
    made.backend_tokenizer.no_truncation()
    made.backend_tokenizer.no_padding()
    made.backend_tokenizer.encode_special_tokens = True
    return made


def has_vocabulary(folder: Path) -> bool:
    """Whether a tokenizer can be made of the files of `folder`."""
    return any(path.is_file() for pattern in VOCABULARIES for path in folder.glob(pattern))


def model_of(checkpoint: Checkpoint, task: Task) -> PreTrainedModel:
    """The model of `checkpoint` with the head of `task`, in float32; raises ValueError where the weights do not fit."""
    automatic = getattr(require("transformers"), f"AutoModel{'For' if task else ''}{task}")
    # asked for its files first, for a pickle is refused there with the reason
    folder = checkpoint.weight_files[0].parent
    with quiet():
        model, report = automatic.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    # a bare encoder may come without the pooler that nobody asks
    report["missing_keys"] = {key for key in report["missing_keys"] if task or "pooler" not in key}
    check_fit(checkpoint, model.config, report)
    return model


def check_complete(checkpoint: Checkpoint, missing: set[str]) -> None:
    """Refuse a model some of whose weights would be random."""
    if missing:
        raise ValueError(f"{checkpoint.folder}: want all weights of the model, got none for {min(missing)}")


def check_fit(checkpoint: Checkpoint, config: PretrainedConfig, report: Report) -> None:
    """Refuse a model that is not the checkpoint's: weights missing, of other sizes, or layers left out."""
    check_complete(checkpoint, report["missing_keys"])
    if report["mismatched_keys"]:
        name, got, wanted = min(report["mismatched_keys"])
        raise ValueError(f"{checkpoint.folder}: config.json wants {[*wanted]} for {name}, the weights have {[*got]}")
    layers = getattr(config, "num_hidden_layers", None)
    for name in sorted(report["unexpected_keys"]):
        number = LAYER.search(name)
        if layers is not None and number and int(number[1]) >= layers:
            raise ValueError(f"{checkpoint.folder}: config.json wants {layers} layers, the weights have also {name}")


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
        return _quantized(model.eval())
    return model.to(device=where, dtype=DTYPES[precision]).eval()


def _quantized(model: torch.nn.Module) -> torch.nn.Module:
    """`model`, changed in place: its linear layers in int8, the rest in float32."""
    with warnings.catch_warnings():
        # torch points to another package, which would be one more to install
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)


def batch_size_for(precision: Precision, batch_size: int) -> int:
    """`batch_size`, but 1 for int8, which scales a layer's input by all of its rows: they would hang on each other."""
    return 1 if precision == "int8" else batch_size


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and load reports of transformers: what is missing raises."""
    logging = require("transformers").utils.logging
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
