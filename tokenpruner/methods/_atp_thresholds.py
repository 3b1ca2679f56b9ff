"""The learned part of ATP-LLaVA (Ye et al., CVPR 2025): thresholds for each image at each cut.

    z = Linear(2 -> d)([a, b]),    theta_r = sigmoid(MLP_r(z)),    theta_s = sigmoid(MLP_s(z))

a and b say how much the image is looked at by itself and by the text. New modules give 1/2 for both, whatever
they read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from tokenpruner.methods._learned_weights import LARGEST, LearnedModule, checked_width

NUMBER = "[0-9]{1,4}"
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


class ATPModules(LearnedModule):
    """One module for each cut, before the decoder layers `layers`, counted from 0."""

    file_name = "atp.safetensors"
    words = ("layers", "width")

    def __init__(self, layers: tuple[int, ...] = (4, 14, 24), width: int = 64) -> None:
        super().__init__()
        self.layers, self.width = tuple(layers), width
        self.cuts = nn.ModuleList(ATPModule(width) for _ in self.layers)

    def header(self) -> Mapping[str, str]:
        """Layers, such as 4/14/24, and width."""
        return {"layers": "/".join(map(str, self.layers)), "width": str(self.width)}

    @classmethod
    def of_header(cls, file: Path, header: Mapping[str, str]) -> ATPModules:
        """New modules for those layers, as wide."""
        given = header["layers"].split("/")
        if not all(re.fullmatch(NUMBER, layer) for layer in given) or len(given) > LARGEST:
            raise ValueError(f"{file}: want layers such as 4/14/24, got {header['layers']!a:.80}")
        layers = tuple(map(int, given))
        if list(layers) != sorted({*layers}) or layers[0] < 1:
            raise ValueError(f"{file}: want layers that ascend from 1 on, got {header['layers']!a:.80}")
        return cls(layers, checked_width(file, header["width"]))


def untrained(statistics: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The thresholds of new modules."""
    half = statistics.new_tensor(0.5)
    return half, half


def _mlp(width: int) -> nn.Sequential:
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), last)
