"""A linear probe: one linear layer on vectors that somebody else made, as an embedder does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from datapruner.evaluation.proxies._classifier import ClassifierProxy
from datapruner.evaluation.proxies._vectors import scaled_vectors
from datapruner.evaluation.proxy import Rows


@dataclass(frozen=True)
class LinearProbe(ClassifierProxy):
    """Rule: softmax regression on the vectors `vectors`, of texts or images alike."""

    vectors: str = "embedding"
    learning_rate: float = 1e-2

    cost: ClassVar[str] = "C (d + 1) parameters; one product a step"

    def vector_names(self) -> tuple[str, ...]:
        return (self.vectors,)

    def inputs(self, train: Rows, test: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        return scaled_vectors(train, test, self.vectors)

    def body(self, inputs: torch.Tensor) -> tuple[torch.nn.Module, int]:
        return torch.nn.Identity(), inputs.shape[1]
