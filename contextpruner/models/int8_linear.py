"""Linear layers in 8 bits on a CPU: a weight has a scale for each of its rows, what comes in one for each token.

    y[t, n] = s[t] r[n] sum_k q[t, k] w[n, k] + b[n]        q = round(x / s), s[t] = max_k |x[t, k]| / 127, so w, r

The sum is one of whole numbers, exact in any order. One scale for all tokens, as torch's dynamic form has it, in 7 bits
there, is 2.5 times as far from float32 at the same speed, and what a token gets would hang on the other tokens.
"""

from __future__ import annotations

import torch
from torch import nn

# a layer of fewer rows is no work, and has the last word
FEWEST = 16
LARGEST, LEAST = 127, 1e-12


class Int8Linear(nn.Module):
    """What `layer` gives, float32 [..., N] of float32 [..., K], within about a hundredth."""

    numbers: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = _scale(weight)
        self.register_buffer("numbers", (weight / scale).round().to(torch.int8).t())
        self.register_buffer("scale", scale[:, 0].contiguous())
        self.register_buffer("bias", torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().float())

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """float32 [..., N]."""
        rows = values.reshape(-1, values.shape[-1])
        scale = _scale(rows)
        sums = torch._int_mm((rows / scale).round_().to(torch.int8), self.numbers) * scale
        return torch.addcmul(self.bias, sums, self.scale, out=sums).view(*values.shape[:-1], -1)


def in_int8(model: nn.Module) -> nn.Module:
    """`model`, changed in place: its linear layers in 8 bits, the rest as it is.

    Raises ValueError where torch has no fast product of whole numbers (oneDNN).
    """
    if not torch.backends.mkldnn.is_available():
        raise ValueError("int8 wants a torch with oneDNN, which this one has not: take float32 or bfloat16")
    for module in [*model.modules()]:
        for name, child in [*module.named_children()]:
            if type(child) is nn.Linear and child.out_features >= FEWEST:
                setattr(module, name, Int8Linear(child))
    return model


def _scale(rows: torch.Tensor) -> torch.Tensor:
    """What the largest entry of each row is divided by, [rows, 1]."""
    return rows.abs().amax(-1, keepdim=True).div_(LARGEST).clamp_(min=LEAST)
