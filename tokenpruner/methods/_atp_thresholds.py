"""The learned part of ATP-LLaVA (Ye et al., CVPR 2025): thresholds for each image at each cut.

    z = Linear(2 -> d)([a, b]),    theta_r = sigmoid(MLP_r(z)),    theta_s = sigmoid(MLP_s(z))

a and b say how much the image is looked at by itself and by the text. New modules give 1/2 for both, whatever
they read. They are parameters like any other: put them on the model before it is wrapped for distributed
training, say `model.atp = ATPModules((4, 14, 24))`, and keep them in a file of their own next to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from prunekernels.io.checkpoint import safetensors_errors
from prunekernels.io.marks import has_mark
from prunekernels.io.model_loading import check_state
from prunekernels.io.outputs import atomic_file

FILE = "atp.safetensors"
# what may stand in a file: modules as wide as this are made before its weights are looked at
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
NUMBER, LARGEST = "[0-9]{1,4}", 1024
# the statistics [2] of an image to its two thresholds
Thresholds = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class ATPModule(nn.Module):
    """The thresholds of one cut."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.redundant, self.spatial = _mlp(width), _mlp(width)

    def forward(self, statistics: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`theta_r` and `theta_s` in (0, 1), both [...], for the statistics a, b [..., 2]."""
        z = self.embed(statistics.to(self.embed.weight.dtype))
        theta_r, theta_s = (mlp(z)[..., 0].sigmoid().to(statistics.dtype) for mlp in (self.redundant, self.spatial))
        return theta_r, theta_s


class ATPModules(nn.Module):
    """One module for each cut, before the decoder layers `layers`, counted from 0."""

    def __init__(self, layers: tuple[int, ...] = (4, 14, 24), width: int = 64) -> None:
        super().__init__()
        self.layers, self.width = tuple(layers), width
        self.cuts = nn.ModuleList(ATPModule(width) for _ in self.layers)

    def save(self, path: str | Path) -> Path:
        """Write the modules to a file, or to a model's folder; returns the file.

        One that is there is replaced where it holds such modules; raises ValueError for any other.
        """
        from safetensors.torch import save_file

        file = location(path)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        layers = "/".join(map(str, self.layers))
        with atomic_file(file, replaces=_is_ours) as temporary:
            save_file(tensors, temporary, {"format": "pt", "layers": layers, "width": str(self.width)})
        return file

    @classmethod
    def load(cls, path: str | Path) -> ATPModules:
        """Read what `save` wrote; raises ValueError where it is something else."""
        from safetensors import safe_open

        file = location(path)
        if not file.is_file():
            raise ValueError(f"want a file that ATPModules.save wrote, got {file}")
        with safetensors_errors(file), safe_open(file, "pt") as opened:
            layers, width = _shape_of(file, opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        dtypes = sorted({tensor.dtype for tensor in tensors.values()}, key=str)
        if len(dtypes) != 1 or dtypes[0] not in DTYPES:
            raise ValueError(f"{file}: want weights of one type of floats, got {', '.join(map(str, dtypes)) or 'none'}")
        modules = cls(layers, width).to(dtypes[0])
        check_state(file, modules, tensors)
        if not all(weight.isfinite().all() for weight in modules.parameters()):
            raise ValueError(f"{file}: want finite weights, got NaN or infinity")
        return modules.requires_grad_(False)


def untrained(statistics: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The thresholds of new modules."""
    half = statistics.new_tensor(0.5)
    return half, half


def _mlp(width: int) -> nn.Sequential:
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), last)


def _shape_of(file: Path, known: Mapping[str, str]) -> tuple[tuple[int, ...], int]:
    """Layers and width as `save` wrote them beside the weights; raises ValueError for anything else."""
    if not {"layers", "width"} <= known.keys():
        raise ValueError(f"want a file that ATPModules.save wrote, got {file} without layers and width")
    given = known["layers"].split("/")
    if not all(re.fullmatch(NUMBER, layer) for layer in given) or len(given) > LARGEST:
        raise ValueError(f"{file}: want layers such as 4/14/24, got {known['layers']!a:.80}")
    layers = tuple(map(int, given))
    if list(layers) != sorted({*layers}) or layers[0] < 1:
        raise ValueError(f"{file}: want layers that ascend from 1 on, got {known['layers']!a:.80}")
    if not re.fullmatch(NUMBER, known["width"]) or not 1 <= int(known["width"]) <= LARGEST:
        raise ValueError(f"{file}: want a width from 1 to {LARGEST}, got {known['width']!a:.80}")
    return layers, int(known["width"])


def _is_ours(file: Path) -> bool:
    """Whether `file` holds modules: their names come first, in a header of JSON."""
    return file.is_file() and has_mark(b'"__metadata__"')(file) and has_mark(b'"layers"')(file)


def location(path: str | Path) -> Path:
    """The file of the modules: `path` itself, or the one in that folder."""
    return Path(path) / FILE if Path(path).is_dir() else Path(path)
