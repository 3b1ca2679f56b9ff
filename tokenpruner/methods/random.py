"""Random tokens: the baseline that many published methods do not beat at moderate ratios.

Each image has a draw of its own, told by the seed, by what the image looks like to the model, and by its place among
the images and frames of its row: batch mates change no pick, and the images of a data set lose different places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tokenpruner.base.before_decoder import Context, Method, Need
from tokenpruner.methods._image_noise import image_keys, uniform


@dataclass(frozen=True)
class Random(Method):
    """Rule: a uniform draw without replacement from each image."""

    seed: int = 0

    cost: ClassVar[str] = "a hash of the embeddings, N draws"
    needs: ClassVar[frozenset[Need]] = frozenset({"visual"})

    def importance(self, context: Context) -> torch.Tensor:
        """Uniform noise."""
        (key,) = image_keys(context.visual[None])
        return uniform(context.size, self.seed, key, context.image, context.frame).to(context.visual.device)
