"""Model folders: where they are, what their config.json says, their tensors, and a digest of all that is loaded.

A folder on disk, or a hub id that huggingface_hub fetches or has cached. Only safetensors are read: a pickle beside
them is never opened, a folder that has nothing else is refused. `model_loading` makes models of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from prunekernels.extras import require
from prunekernels.io.json_files import Fields, Json, read_object
from prunekernels.io.module_folders import module_folders
from prunekernels.io.paths import check_name, open_regular, path_inside

if TYPE_CHECKING:
    import torch

# what a checkpoint needs: settings, tokenizers and weights, of sentence-transformers also the modules' folders
WANTED = ("*.json", "*.safetensors", "*.onnx", "*.txt", "*.model", "*.tiktoken", "*.jinja")
WANTED_OF_MODULES = ("[0-9]_*/*.json", "[0-9]_*/*.safetensors", "[0-9]_*/*.txt", "[0-9]_*/*.model")
# a star matches slashes too: other folders hold the same weights in other forms
UNWANTED = ("[!0-9]*/*",)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.h5", "*.msgpack")
# what a folder is known by beside its weights, and what of it decides no score
_SETTINGS = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.onnx", "*.onnx.data", "*.onnx_data")
_ABOUT = ("generation_config.json", "chat_template.json", "calibration.json", "trainer_state.json", "README.txt")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a config.json and safetensors weights."""

    folder: Path

    @cached_property
    def config(self) -> dict[str, Json]:
        """What config.json says; raises ValueError where there is none."""
        if not (self.folder / "config.json").is_file():
            raise ValueError(f"{self.folder}: want a checkpoint with a config.json, got none")
        return read_object(self.folder / "config.json")

    @cached_property
    def weight_files(self) -> list[Path]:
        """The files that hold the weights, whole or in parts; raises ValueError where there are none to read.

        They are those that transformers reads, in its order: model.safetensors, the parts of the index, others.
        """
        files = _weights(self.folder)
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
        """The shape of every tensor; no weight is read. Raises ValueError naming a file that is broken or cut short."""
        from safetensors import safe_open

        shapes: dict[str, list[int]] = {}
        for file in self.weight_files:
            with safetensors_errors(file), safe_open(file, framework="pt") as tensors:
                shapes |= {name: [*tensors.get_slice(name).get_shape()] for name in tensors.keys()}  # noqa: SIM118
        return shapes

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor, on the CPU, as it was saved; raises as `shapes` does."""
        from safetensors.torch import load_file

        found: dict[str, torch.Tensor] = {}
        for file in self.weight_files:
            with safetensors_errors(file):
                found |= load_file(file)
        return found

    @cached_property
    def loaded_files(self) -> list[Path]:
        """Every file that may decide what the model says: weights, settings, tokenizer, and the modules' of each.

        A superset: a file that nobody opens may be among them, one that is opened is never left out.
        """
        folders = [self.folder, *module_folders(self.folder)]
        found = {file for folder in folders for file in _weights(folder) if file.is_file()}
        for folder in folders:
            found |= {file for pattern in _SETTINGS for file in folder.glob(pattern) if file.name not in _ABOUT}
        return sorted(file for file in found if file.is_file())

    @cached_property
    def identity(self) -> str:
        """ "blake2b" and 32 hex digits, of the paths and bytes of `loaded_files`; of a hub's snapshot its commit."""
        if self.folder.parent.name == "snapshots":
            return f"commit {self.folder.name}"
        lines = [f"{file.relative_to(self.folder).as_posix()} {_digest(file)}\n" for file in self.loaded_files]
        return f"blake2b {hashlib.blake2b(''.join(lines).encode(), digest_size=16).hexdigest()}"


def find_checkpoint(name: str) -> Checkpoint:
    """The checkpoint at the path or hub id `name`; raises ValueError where there is none."""
    folder = folder_of(name, (*WANTED, *WANTED_OF_MODULES))
    # a sentence-transformers model may keep its config.json in the folder of a module
    if not any((folder / file).is_file() for file in ("config.json", "modules.json")):
        raise ValueError(f"{folder}: want a checkpoint with a config.json, got none")
    return Checkpoint(folder)


def folder_of(name: str, wanted: Sequence[str]) -> Path:
    """The folder at `name`, or of the files `wanted` of the hub's repository of that name; raises ValueError."""
    folder = Path(name)
    if name and folder.is_dir():
        return folder
    hub = require("huggingface_hub", "context")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=[*wanted], ignore_patterns=[*UNWANTED]))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"want the folder or hub id of a checkpoint, got {name!r}: no such folder here, and of the hub: {reason}"
        ) from error


@contextmanager
def safetensors_errors(file: Path) -> Iterator[None]:
    """What safetensors says of a broken file, say one that is half downloaded, as a ValueError that names it."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{file}: want whole safetensors, got a broken file: {error}") from error


def _weights(folder: Path) -> list[Path]:
    """Where the weights of `folder` are, or should be by its index."""
    if (folder / WEIGHTS).is_file():
        # the same weights may lie beside it in another precision
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        parts = Fields.read(folder / INDEX).fields("weight_map").values
        # a name is a file of this folder, and never a way out of it
        place = f"{folder / INDEX}: weight_map"
        names = sorted({check_name(name, place) for name in parts.values()})
        if not all(name.endswith(".safetensors") for name in names):
            raise ValueError(f"{place}: want names of safetensors, got {names[0]!a:.80}")
        return [path_inside(folder, name, place, links_may_leave=True) for name in names]
    return sorted(folder.glob("*.safetensors"))


def _digest(file: Path) -> str:
    with open_regular(file) as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
