"""Weights that a method learned: parameters like any other, in one safetensors file beside a model or alone.

Put them on the model before it is wrapped for distributed training, say `model.atp = ATPModules((4, 14, 24))`, and
save them to the model's folder. What shapes the modules stands in the file's header, and is checked before they are
made; of tensors only finite floats of one type are taken.
"""

from __future__ import annotations

import functools
import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import nn

from prunekernels.io.checkpoint import safetensors_errors
from prunekernels.io.marks import has_mark
from prunekernels.io.model_loading import check_state
from prunekernels.io.outputs import atomic_file

# what may stand in a file: modules are made as wide as it says before its weights are looked at
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
LARGEST = 1024


class LearnedModule(nn.Module):
    """The base of what methods learn: a class says the name of its file in a folder, and what its header holds."""

    file_name: ClassVar[str]
    # the words of the header, all of which a file of this kind has
    words: ClassVar[tuple[str, ...]]

    @abstractmethod
    def header(self) -> Mapping[str, str]:
        """What shapes the modules, by word."""

    @classmethod
    @abstractmethod
    def of_header(cls, file: Path, header: Mapping[str, str]) -> Self:
        """New modules of that shape; raises ValueError, which names `file`, for words that make no sense."""

    def save(self, path: str | Path) -> Path:
        """Write the modules to a file, or to a model's folder; returns the file.

        One that is there is replaced where it holds such modules; raises ValueError for any other.
        """
        from safetensors.torch import save_file

        file = self.location(path)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        with atomic_file(file, replaces=self._is_ours) as temporary:
            save_file(tensors, temporary, {"format": "pt", **self.header()})
        return file

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; raises ValueError where it is something else."""
        from safetensors import safe_open

        file = cls.location(path)
        wanted = f"want a file that {cls.__name__}.save wrote, got {file}"
        if not file.is_file():
            raise ValueError(wanted)
        with safetensors_errors(file), safe_open(file, "pt") as opened:
            header = opened.metadata() or {}
            if not {*cls.words} <= header.keys():
                raise ValueError(f"{wanted} without {' and '.join(cls.words)}")
            modules = cls.of_header(file, header)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        dtypes = sorted({tensor.dtype for tensor in tensors.values()}, key=str)
        if len(dtypes) != 1 or dtypes[0] not in DTYPES:
            raise ValueError(f"{file}: want weights of one type of floats, got {', '.join(map(str, dtypes)) or 'none'}")
        modules.to(dtypes[0])
        check_state(file, modules, tensors)
        if not all(weight.isfinite().all() for weight in modules.parameters()):
            raise ValueError(f"{file}: want finite weights, got NaN or infinity")
        return modules.requires_grad_(False)

    @classmethod
    def kept(cls, weights: str, device: torch.device) -> Self:
        """What was saved at `weights`, on `device`: read once, and again where the file has changed."""
        file = cls.location(weights)
        if not file.is_file():
            raise ValueError(f"want weights that {cls.__name__}.save wrote, got {weights!r}")
        return _loaded(cls, file, file.stat().st_mtime_ns, device)  # type: ignore[return-value, arg-type]

    @classmethod
    def location(cls, path: str | Path) -> Path:
        """The file of the modules: `path` itself, or the one in that folder."""
        return Path(path) / cls.file_name if Path(path).is_dir() else Path(path)

    @classmethod
    def _is_ours(cls, file: Path) -> bool:
        """Whether `file` holds such modules: their words come first, in a header of JSON."""
        marks = (b'"__metadata__"', *(f'"{word}"'.encode() for word in cls.words))
        return file.is_file() and all(has_mark(mark)(file) for mark in marks)


def checked_width(file: Path, given: str) -> int:
    """How wide modules are, as a header says; raises ValueError for what is no such number."""
    if not re.fullmatch("[0-9]{1,4}", given) or not 1 <= int(given) <= LARGEST:
        raise ValueError(f"{file}: want a width from 1 to {LARGEST}, got {given!a:.80}")
    return int(given)


@functools.lru_cache(maxsize=8)
def _loaded(kind: type[LearnedModule], file: Path, changed: int, device: torch.device) -> LearnedModule:
    return kind.load(file).to(device)
