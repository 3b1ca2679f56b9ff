"""The frozen vision transformer: the first blocks of DINOv2-S, the last of which is what the projector reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import Dinov2Model

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Tower:
    """A `model` that has lost its last blocks."""

    model: Dinov2Model

    @staticmethod
    def load(folder: Path, blocks: int, dtype: torch.dtype = torch.bfloat16) -> Tower:
        """The first `blocks` of the DINOv2 in `folder`."""
        from transformers import Dinov2Model

        model = Dinov2Model.from_pretrained(folder, dtype=dtype).eval()
        model.encoder.layer = model.encoder.layer[:blocks]
        model.config.num_hidden_layers = blocks
        return Tower(model)

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels uint8 [n, 3, H, W] to what the last block says of the patches, [n, H W / 196, D]."""
        inputs = normalized(pixels).to(self.model.dtype)
        # the hidden state itself, without the final norm, as LLaVA takes it
        hidden: torch.Tensor = self.model(inputs, output_hidden_states=True).hidden_states[-1]
        return hidden[:, 1:]


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels uint8 [n, 3, H, W] as the tower takes them, float32."""
    mean, deviation = (torch.tensor(own)[:, None, None] for own in (MEAN, DEVIATION))
    return (pixels / 255 - mean) / deviation


def pixels_of(picture: Image) -> torch.Tensor:
    """A picture in colours as the tower takes it, float32 [1, 3, H, W]."""
    return normalized(torch.from_numpy(np.array(picture).transpose(2, 0, 1))[None])
