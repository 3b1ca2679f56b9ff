"""transformers' models out of folders: from safetensors, complete, without code of the folder, or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from prunekernels.extras import require
from prunekernels.io.checkpoint import Checkpoint
from prunekernels.io.json_files import Json
from prunekernels.io.module_folders import check_modules, modules_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class LoadingInfo(TypedDict):
    """What transformers says of a load; of other sizes the name, the one in the file and the one in the model."""

    missing_keys: set[str]
    unexpected_keys: set[str]
    mismatched_keys: set[tuple[str, torch.Size, torch.Size]]


# what is computed anew: older files hold it
_BUFFERS = re.compile(r"(position_ids|token_type_ids|inv_freq|masked_bias|attn\.bias|num_batches_tracked)$")
# settings that name what runs: a name with a slash is code of the hub
_IMPLEMENTATIONS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")


def load_model(
    checkpoint: Checkpoint, automatic: str, dtype: torch.dtype | str = "auto", may_miss: Sequence[str] = ()
) -> PreTrainedModel:
    """The model of `checkpoint` by transformers' class `automatic`, say "AutoModelForCausalLM", on the CPU.

    Raises ValueError, with the folder, for code, pickles, an adapter of another model, broken files, and weights that
    are missing, of other sizes, or left over (`check_fit`). `may_miss` are parts of names whose weights may be
    missing as nobody asks them, say "pooler" where only hidden states are read.
    """
    transformers = require("transformers", "context")
    check_no_code(checkpoint)
    # each header is read: a file that is cut short is told by its name
    _ = checkpoint.shapes
    with quiet(), loading_errors(checkpoint.folder, "a model that transformers can load"):
        model, report = getattr(transformers, automatic).from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    check_fit(checkpoint.folder, model, report, may_miss)
    return model


def check_sentence_transformer(checkpoint: Checkpoint) -> None:
    """Raise ValueError unless sentence-transformers may be given the folder of `checkpoint`.

    Looks at its modules (`check_modules`), and loads each encoder once to see that no weight would be made up, which
    the library does not tell. Without a modules.json the folder is an encoder.
    """
    check_modules(checkpoint.folder)
    modules = modules_of(checkpoint.folder)
    encoders = [module.folder for module in modules if module.kind.endswith("Transformer")]
    for folder in dict.fromkeys(encoders if modules else [checkpoint.folder]):
        encoder = Checkpoint(folder)
        # of these the library takes the encoder alone
        half = "t5" in str(encoder.config.get("model_type"))
        load_model(encoder, "AutoModelForTextEncoding" if half else "AutoModel", may_miss=("pooler",))


def check_no_code(checkpoint: Checkpoint) -> None:
    """Raise ValueError where settings ask for code, the folder's or the hub's, for other files or for another model."""
    folder, config = checkpoint.folder, checkpoint.config
    kinds = require("transformers", "context").models.auto.configuration_auto.CONFIG_MAPPING
    if "auto_map" in config and config.get("model_type") not in kinds:
        kind = f"{config.get('model_type')!a:.80}"
        raise ValueError(f"{folder}: want a kind of model that transformers has, got {kind}: its own code is never run")
    for key, value in _all_settings(config):
        values = value.values() if isinstance(value, dict) else [value]
        if key in _IMPLEMENTATIONS and any(isinstance(item, str) and "/" in item for item in values):
            raise ValueError(f"{folder}: config.json: {key}: want one of transformers' own, got {value!a:.80}")
    if config.get("transformers_weights") is not None:
        raise ValueError(f"{folder}: config.json names its own file of weights: want them as model.safetensors")
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"{folder}: want whole weights, got an adapter of another model: merge them and save that")


def check_complete(place: str | Path, missing: set[str]) -> None:
    """Refuse a model some of whose weights would be random."""
    if missing:
        raise ValueError(f"{place}: want all weights of the model, got none for {min(missing)}")


def check_fit(place: str | Path, model: torch.nn.Module, report: LoadingInfo, may_miss: Sequence[str] = ()) -> None:
    """Refuse a model that is not the checkpoint's, by what transformers says of the load (output_loading_info).

    That is: weights missing, of other sizes, or left over from layers and modules that the model has. Heads that it
    has not, say the language model's of a bare encoder, may be left over.
    """
    check_complete(place, {name for name in report["missing_keys"] if not any(part in name for part in may_miss)})
    mismatched = report["mismatched_keys"]
    if mismatched:
        name, got, wanted = min(mismatched)
        raise ValueError(f"{place}: config.json wants {[*wanted]} for {name}, the weights have {[*got]}")
    left = sorted(name for name in report["unexpected_keys"] if _is_of(name, model))
    if left:
        layers = getattr(getattr(model, "config", None), "num_hidden_layers", "other")
        raise ValueError(f"{place}: config.json wants {layers} layers, the weights have also {left[0]}")


def check_state(place: str | Path, module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load `tensors` into `module` where names and shapes are its own; raises ValueError otherwise, `module` as it was.

    For what we saved ourselves; call with tensors in the type that the module is to have.
    """
    wanted = {name: [*value.shape] for name, value in module.state_dict().items()}
    check_complete(place, wanted.keys() - tensors.keys())
    for name, tensor in tensors.items():
        if name not in wanted:
            raise ValueError(f"{place}: want only the model's weights, got also {name!a:.80}")
        if [*tensor.shape] != wanted[name]:
            raise ValueError(f"{place}: want {name} of shape {wanted[name]}, got {[*tensor.shape]}")
    module.load_state_dict(dict(tensors))


@contextmanager
def loading_errors(place: str | Path, wanted: str) -> Iterator[None]:
    """Whatever a library raises over a folder from elsewhere, as a ValueError of one line that names it.

    A missing package stays an ImportError. `wanted` is what the caller wants there, say "a tokenizer".
    """
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - libraries raise of every kind over settings that make no sense
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines and not isinstance(error, KeyError) else f"{type(error).__name__} {lines[:1]}"
        raise ValueError(f"{place}: want {wanted}: {reason[:300]}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and load reports of transformers: what is missing raises."""
    logging = require("transformers", "context").utils.logging
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _is_of(name: str, model: torch.nn.Module) -> bool:
    """Whether the weight `name` belongs to a layer or module that `model` has, and should have been read."""
    if _BUFFERS.search(name):
        return False
    modules = {own for own, _ in model.named_modules()}
    parts = name.split(".")
    prefix = getattr(model, "base_model_prefix", "")
    if parts[0] == prefix and prefix not in modules:
        parts = parts[1:]
    depth = next(at for at in range(len(parts) - 1, -1, -1) if ".".join(parts[:at]) in modules)
    is_in_layer = any(part.isdigit() for part in parts[: depth + 1])
    owner = model.get_submodule(".".join(parts[:depth]))
    is_of_leaf = depth == len(parts) - 1 and bool(owner._parameters)
    return is_in_layer or is_of_leaf


def _all_settings(value: Json) -> Iterator[tuple[str, Json]]:
    """Every key of a config and of those in it."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield from item.items()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
