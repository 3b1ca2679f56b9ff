"""Checkpoints as folders: where they are, what their config.json says, and their tensors.

A folder on disk, or a hub id that huggingface_hub fetches or has cached. Only safetensors are read; a folder that
has nothing but a pickle is refused, and no code of a folder is ever run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from contextpruner.extras import require

if TYPE_CHECKING:
    import torch

Config = dict[str, object]

# what a checkpoint needs: settings, tokenizers and weights, of sentence-transformers also the modules' folders
WANTED = ["*.json", "*.safetensors", "*.onnx", "*.txt", "*.model", "[0-9]_*/*.json", "[0-9]_*/*.safetensors"]
# a star matches slashes too: other folders hold the same weights in other forms
UNWANTED = ["[!0-9]*/*"]
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a config.json and safetensors weights."""

    folder: Path

    @cached_property
    def config(self) -> Config:
        """What config.json says; raises ValueError where there is none."""
        if not (self.folder / "config.json").is_file():
            raise ValueError(f"{self.folder}: want a checkpoint with a config.json, got none")
        return _object(self.folder / "config.json")

    @cached_property
    def weight_files(self) -> list[Path]:
        """The files that hold the weights, whole or in parts; raises ValueError where there are none to read."""
        index = self.folder / "model.safetensors.index.json"
        if index.is_file():
            parts = _object(index).get("weight_map")
            names = sorted(set(parts.values())) if isinstance(parts, dict) else []
            # a name is a file of this folder, and never a way out of it
            files = [self.folder / Path(name).name for name in names]
        elif (self.folder / "model.safetensors").is_file():
            # the same weights may lie beside it in another precision
            files = [self.folder / "model.safetensors"]
        else:
            files = sorted(self.folder.glob("*.safetensors"))
        if files and all(file.is_file() for file in files):
            return files
        pickled = sorted(file.name for pattern in PICKLES for file in self.folder.glob(pattern))
        if pickled and not files:
            raise ValueError(
                f"{self.folder}: want safetensors weights, got {pickled[0]}, a pickle, which is never read; "
                "save the model anew with save_pretrained()"
            )
        missing = [file.name for file in files if not file.is_file()]
        raise ValueError(f"{self.folder}: want safetensors weights, got {f'no {missing[0]}' if missing else 'none'}")

    @cached_property
    def shapes(self) -> dict[str, list[int]]:
        """The shape of every tensor; no weight is read."""
        from safetensors import safe_open

        shapes: dict[str, list[int]] = {}
        for file in self.weight_files:
            with safe_open(file, framework="pt") as tensors:
                shapes |= {name: [*tensors.get_slice(name).get_shape()] for name in tensors.keys()}  # noqa: SIM118
        return shapes

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor, on the CPU, as it was saved."""
        from safetensors.torch import load_file

        return {name: tensor for file in self.weight_files for name, tensor in load_file(file).items()}


def find_checkpoint(name: str) -> Checkpoint:
    """The checkpoint at the path or hub id `name`; raises ValueError where there is none."""
    folder = folder_of(name, WANTED)
    # a sentence-transformers model may keep its config.json in the folder of a module
    if not any((folder / file).is_file() for file in ("config.json", "modules.json")):
        raise ValueError(f"{folder}: want a checkpoint with a config.json, got none")
    return Checkpoint(folder)


def folder_of(name: str, wanted: list[str]) -> Path:
    """The folder at `name`, or of the files `wanted` of the hub's repository of that name; raises ValueError."""
    folder = Path(name)
    if name and folder.is_dir():
        return folder
    hub = require("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=wanted, ignore_patterns=UNWANTED))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"want the folder or hub id of a checkpoint, got {name!r}: no such folder here, and of the hub: {reason}"
        ) from error


def _object(path: Path) -> Config:
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: want JSON, got {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: want an object, got {type(value).__name__}")
    return value
