"""A small convolutional network on images, or on vectors that are the numbers of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.corpus.pictures import pictures
from datapruner.evaluation.proxies._classifier import ClassifierProxy
from datapruner.evaluation.proxies._vectors import scaled_vectors
from datapruner.evaluation.proxy import Rows


@dataclass(frozen=True)
class Cnn(ClassifierProxy):
    """Rule: three convolutions of 3 x 3 with batch norm, each but the last halved by a maximum, and a mean over places.

    Images are scaled to `size` pixels a side, in `channels` 3 or 1. With `vectors` the images are the field of that
    name, numbers in the order channels, rows, columns, squares of `channels` (which then also may be another number).
    """

    size: int = 32
    channels: int = 3
    vectors: str = ""
    width: int = 32

    needs: ClassVar[tuple[str, ...]] = ("images", "labels")
    cost: ClassVar[str] = "about 63 width^2 parameters; three convolutions forward and backward a step"

    def check(self) -> None:
        super().check()
        if self.size < 4 or self.width < 1 or (not self.vectors and self.channels not in (1, 3)):
            raise ValueError(
                f"cnn wants a size of at least 4, a width of at least 1 and 1 or 3 channels, got {self.size}, "
                f"{self.width} and {self.channels}"
            )

    def vector_names(self) -> tuple[str, ...]:
        return (self.vectors,) if self.vectors else ()

    def inputs(self, train: Rows, test: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.vectors:
            found = [self._pixels(rows) for rows in (train, test)]
            mean, deviation = found[0].mean(), found[0].std().clamp_min(1e-12)
            return (found[0] - mean) / deviation, (found[1] - mean) / deviation
        flat = scaled_vectors(train, test, self.vectors)
        side = round((flat[0].shape[1] / self.channels) ** 0.5)
        if side < 4 or self.channels * side * side != flat[0].shape[1]:
            raise ValueError(
                f"cnn wants {self.vectors!r} as squares of {self.channels} channels, of at least 4 a side, got "
                f"{flat[0].shape[1]} numbers a row"
            )
        return flat[0].view(-1, self.channels, side, side), flat[1].view(-1, self.channels, side, side)

    def body(self, inputs: torch.Tensor) -> tuple[torch.nn.Module, int]:
        widths = [inputs.shape[1], self.width, 2 * self.width, 2 * self.width]
        layers: list[torch.nn.Module] = []
        for number, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            convolution = torch.nn.Conv2d(before, after, 3, padding=1, bias=False)
            layers += [convolution, torch.nn.BatchNorm2d(after), torch.nn.ReLU()]
            layers += [torch.nn.MaxPool2d(2)] if number < 2 else []
        layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        return torch.nn.Sequential(*layers), widths[-1]

    def _pixels(self, rows: Rows) -> torch.Tensor:
        """In [0, 1], float32 [n, channels, size, size]; a broken image is black."""
        made = np.zeros((len(rows), self.size, self.size, self.channels), np.float32)
        for row, picture in enumerate(pictures(rows.images or ())):
            if picture is not None:
                small = picture.convert("L" if self.channels == 1 else "RGB").resize((self.size, self.size))
                made[row] = np.asarray(small, np.float32).reshape(self.size, self.size, self.channels) / 255
        return torch.from_numpy(made).permute(0, 3, 1, 2).contiguous()
