"""Norms of the gradient of each row's own loss over all parameters: GraNd of Paul et al. 2021 (arXiv:2107.07075).

    grand = || d loss(row) / d parameters ||_2

One forward and one backward pass a row, whatever the model: rows never share a batch, so that no padding, no batch
statistics and no neighbour can enter. For the last layer alone `prunekernels.grand` needs no backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import torch

Row = TypeVar("Row")


def gradient_norms(
    model: torch.nn.Module, rows: Iterable[Row], loss: Callable[[torch.nn.Module, Row], torch.Tensor]
) -> np.ndarray:
    """float32 [n]: for each of `rows` the norm of the gradient of the number `loss(model, row)`.

    In evaluation mode, over the parameters that are trained (requires_grad); the model is left as it was found, its
    own gradients too. Raises ValueError for a loss that is no single finite number.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    modes = {module: module.training for module in model.modules()}
    norms = []
    model.eval()
    try:
        for number, row in enumerate(rows):
            value = loss(model, row)
            if value.numel() != 1 or not bool(value.isfinite()):
                raise ValueError(f"row {number}: want a finite number as loss, got {value.detach()!s:.80}")
            found = torch.autograd.grad(value.reshape(()), parameters, allow_unused=True)
            norms.append(_norm([gradient for gradient in found if gradient is not None]))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return np.array(norms, dtype=np.float32)


def _norm(gradients: list[torch.Tensor]) -> float:
    parts = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in gradients]
    return float(torch.stack([part.cpu() for part in parts]).norm()) if parts else 0.0
