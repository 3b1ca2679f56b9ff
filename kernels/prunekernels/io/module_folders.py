"""The modules of a sentence-transformers model, as its modules.json lists them: what they are and where they lie.

Only modules of sentence-transformers itself that read safetensors are let through, by name: releases before 6 import
a folder's own code without asking, some modules import what their settings name, and all read a pickle where a module
has nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from prunekernels.io.json_files import Fields, read_json, read_object
from prunekernels.io.paths import path_inside

# those whose code reads settings as JSON and weights as safetensors, and imports nothing by a name that it finds
SAFE = ("Transformer", "Pooling", "Dense", "Normalize", "LayerNorm", "WeightedLayerPooling", "StaticEmbedding")
ROUTERS = ("Router", "Asym")
_KIND = re.compile(r"sentence_transformers(?:\.\w+)*\.(\w+)")
# what a Dense may compute in the end
_ACTIVATION = re.compile(r"torch\.nn\.modules\.(?:activation|linear)\.\w+")
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_DEEPEST = 4


class Module(NamedTuple):
    """A module: the dotted name of its class and its folder."""

    kind: str
    folder: Path


def modules_of(folder: Path) -> list[Module]:
    """The modules of the model in `folder` in the order in which they run; none where it has no modules.json."""
    path = folder / "modules.json"
    listed = read_json(path) if path.is_file() else []
    if not isinstance(listed, list) or not all(isinstance(module, dict) for module in listed):
        raise ValueError(f"{path}: want a list of modules, got {listed!a:.80}")
    found = []
    for number, item in enumerate(listed):
        module = Fields(item, f"{path}: [{number}]")
        own = module.text("path") if module.has("path") else ""
        found.append(Module(module.text("type"), path_inside(folder, own, f"{path}: path", links_may_leave=True)))
    return found


def module_folders(folder: Path) -> list[Path]:
    """The folders of the modules, and of those that a router leads to, without `folder` itself."""
    found = [module.folder for module in _all_modules(folder, modules_of(folder), 0)]
    return [path for path in dict.fromkeys(found) if path != folder and path.is_dir()]


def check_modules(folder: Path) -> None:
    """Raise ValueError for a model that sentence-transformers would read code, a pickle or another model for.

    Also for one without a tokenizer: transformers would make up an empty one.
    """
    modules = _all_modules(folder, modules_of(folder), 0)
    for module in modules:
        name = _KIND.fullmatch(module.kind)
        if name is None or name[1] not in SAFE + ROUTERS:
            raise ValueError(f"{folder}: want modules of sentence-transformers, got {module.kind!a:.80}"[:300])
        if name[1] == "Dense":
            _check_activation(module.folder)
    folders = list(dict.fromkeys([folder, *(module.folder for module in modules)]))
    for place in folders:
        _check_weights(place)
    if not any(path.is_file() for place in folders for pattern in VOCABULARIES for path in place.glob(pattern)):
        raise ValueError(f"{folder}: want a tokenizer, got none")


def _all_modules(folder: Path, modules: list[Module], depth: int) -> list[Module]:
    """With those that a router chooses among."""
    if depth > _DEEPEST:
        raise ValueError(f"{folder}: want at most {_DEEPEST} routers in routers, got more")
    found = []
    for module in modules:
        found.append(module)
        name = _KIND.fullmatch(module.kind)
        if name is not None and name[1] in ROUTERS:
            found += _all_modules(folder, _routed(module.folder), depth + 1)
    return found


def _routed(folder: Path) -> list[Module]:
    files = [folder / name for name in ("router_config.json", "config.json")]
    path = next((file for file in files if file.is_file()), files[0])
    types = Fields.read(path).fields("types")
    return [
        Module(types.text(name), path_inside(folder, name, f"{path}: types", links_may_leave=True))
        for name in types.values
    ]


def _check_activation(folder: Path) -> None:
    path = folder / "config.json"
    said = read_object(path).get("activation_function") if path.is_file() else None
    if said is not None and not (isinstance(said, str) and _ACTIVATION.fullmatch(said)):
        raise ValueError(f"{path}: activation_function: want one of torch.nn, got {said!a:.80}")


def _check_weights(folder: Path) -> None:
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"{folder}: want whole weights, got an adapter of another model: merge them and save that")
    has_weights = any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json"))
    # weights in safetensors beside a pickle are what is read; a folder of settings has neither
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickles and not has_weights:
        raise ValueError(f"{folder}: want safetensors weights, got {pickles[0]}, a pickle, which is never read")
