"""The arithmetic that a pass needs, and how fast this machine multiplies: the floor that a training is told against.

forward of a token   2 * weights of the encoder's linear layers  +  4 * tokens of its row * width * layers
training             three times that: the gradients of inputs and of weights cost a forward pass each
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from contextpruner.models.joint_encoder import JointEncoder

if TYPE_CHECKING:
    from transformers import PretrainedConfig

TRAINING = 3
# a product of about the shapes of such an encoder, and how often it is timed
SHAPE, ROUNDS = (2048, 384, 1536), 5


def flops_per_token(model: JointEncoder, tokens_a_row: float) -> float:
    """FLOPs of a forward pass for each token of rows of that length."""
    encoder = model.ranker.get_submodule(model.encoder)
    linear = [
        module for name, module in encoder.named_modules() if isinstance(module, torch.nn.Linear) and "pool" not in name
    ]
    config: PretrainedConfig = encoder.config
    attention = 4.0 * tokens_a_row * config.hidden_size * config.num_hidden_layers
    return 2.0 * sum(module.weight.numel() for module in linear) + attention


def measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of a matrix product there, the best of a few."""
    rows, inner, columns = SHAPE
    # nothing is drawn here: a run that goes on has to draw what it would have drawn
    left = torch.full((rows, inner), 0.5, device=device, dtype=dtype)
    right = torch.full((inner, columns), 0.5, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        _ = left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * rows * inner * columns / best
