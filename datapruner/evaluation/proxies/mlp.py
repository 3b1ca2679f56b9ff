"""A multilayer perceptron on vectors: features, pixels, or embeddings of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from datapruner.evaluation.proxies._classifier import ClassifierProxy
from datapruner.evaluation.proxies._vectors import scaled_vectors
from datapruner.evaluation.proxy import Rows


@dataclass(frozen=True)
class Mlp(ClassifierProxy):
    """Rule: `layers` hidden layers of `width` with ReLU on the vectors `vectors`."""

    vectors: str = "features"
    width: int = 128
    layers: int = 1

    cost: ClassVar[str] = "d width + C width parameters at one layer; two products a step"

    def check(self) -> None:
        super().check()
        if self.width < 1 or self.layers < 1:
            raise ValueError(f"mlp wants a width and layers of at least 1, got {self.width} and {self.layers}")

    def vector_names(self) -> tuple[str, ...]:
        return (self.vectors,)

    def inputs(self, train: Rows, test: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        return scaled_vectors(train, test, self.vectors)

    def body(self, inputs: torch.Tensor) -> tuple[torch.nn.Module, int]:
        widths = [inputs.shape[1], *[self.width] * self.layers]
        layers: list[torch.nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        return torch.nn.Sequential(*layers), self.width
