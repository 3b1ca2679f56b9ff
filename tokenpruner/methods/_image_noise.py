"""Noise that hangs on a seed and on an image, and on nothing else: not on batch mates, order or device.

An image is known by its features: of their mean over the tokens, neighbouring dimensions are compared two by two,

    key = sum over i of 2^i [mean_2i > mean_2i+1]

of as many pairs as there are, 24 at most. What rounding does to the mean of many tokens tips no comparison but one in
many thousands.
"""

from __future__ import annotations

import torch

PAIRS = 24
# apart from each other for any seeds and places that occur
STEP, LARGEST = 1_000_003, 2**63


def image_keys(features: torch.Tensor) -> list[int]:
    """A number of 24 bits for each image of `features` [B, N, D]."""
    mean = features.mean(1, dtype=torch.promote_types(features.dtype, torch.float32))
    n_pairs = min(PAIRS, mean.shape[1] // 2)
    bits = mean[:, 0 : 2 * n_pairs : 2] > mean[:, 1 : 2 * n_pairs : 2]
    keys: list[int] = (bits.long() << torch.arange(n_pairs, device=bits.device)).sum(1).tolist()
    return keys


def uniform(size: int, *numbers: int) -> torch.Tensor:
    """Uniform noise float32 [size] that hangs on these numbers; drawn on the CPU, the same on every device."""
    seed = 0
    for number in numbers:
        seed = (seed * STEP + number + 1) % LARGEST
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))
