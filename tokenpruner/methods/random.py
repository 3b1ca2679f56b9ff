"""Random tokens: the baseline that many published methods do not beat at moderate ratios.

The noise hangs on the seed and on which image and frame of its row it is, so that batch mates do not change the picks;
it is drawn on the CPU, so that every device picks the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tokenpruner.base.before_decoder import Context, Method

# apart from each other for any seeds, image and frame numbers that occur
STRIDE, FRAMES = 1_000_003, 1_000_003**2


@dataclass(frozen=True)
class Random(Method):
    """A uniform draw without replacement from each image."""

    seed: int = 0

    def importance(self, context: Context) -> torch.Tensor:
        """Uniform noise."""
        generator = torch.Generator().manual_seed(self.seed * STRIDE + context.image + FRAMES * context.frame)
        return torch.rand(context.size, generator=generator).to(context.visual.device)
