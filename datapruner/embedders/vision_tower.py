"""Embeddings of images by a vision tower of transformers (DINOv2, ViT, CLIP's, ...), scaled to length 1.

The tower's pooled output where it has one, else the mean of its patches. Pictures are prepared as the folder's own
preprocessor says. A broken image is a vector of zeros: like nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from datapruner.corpus.pictures import pictures
from datapruner.scoring.scorer import COSMETIC, NOTHING, Batch, Embedder, State
from prunekernels._unit import unit_rows
from prunekernels.extras import require
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.io.model_loading import check_no_code, load_model, loading_errors

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel


@dataclass(frozen=True)
class VisionTower(Embedder):
    """Paper: Oquab et al. 2023, DINOv2 (arXiv:2304.07193), or any other tower; `model` is a folder or hub id."""

    model: str = field(default="facebook/dinov2-small", metadata=COSMETIC)
    batch_size: int = field(default=32, metadata=COSMETIC)
    device: str = field(default="auto", metadata=COSMETIC)

    needs: ClassVar[tuple[str, ...]] = ("images",)
    direction: ClassVar[str] = "closer in what they show is a larger dot product"
    cost: ClassVar[str] = "one decoding and one forward pass a picture"

    def check(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"vision_tower wants a batch_size of at least 1, got {self.batch_size}")

    def identity(self) -> dict[str, str]:
        return {"model": find_checkpoint(self.model).identity}

    @torch.inference_mode()
    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        model, processor = self._loaded
        vectors = np.zeros((len(batch), _width(model)), np.float32)
        found = [(row, picture) for row, picture in enumerate(pictures(batch.images or ())) if picture is not None]
        for start in range(0, len(found), self.batch_size):
            rows, some = zip(*found[start : start + self.batch_size], strict=True)
            pixels = processor(images=[*some], return_tensors="pt")["pixel_values"]
            output = model(pixel_values=pixels.to(model.device))
            pooled = getattr(output, "pooler_output", None)
            pooled = output.last_hidden_state.mean(1) if pooled is None else pooled.flatten(1)
            vectors[[*rows]] = unit_rows(pooled.float().cpu()).numpy()
        return vectors

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, BaseImageProcessor]:
        checkpoint = find_checkpoint(self.model)
        check_no_code(checkpoint)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        model = load_model(checkpoint, "AutoModel", torch.float32)
        tower = getattr(model, "vision_model", model)
        with loading_errors(checkpoint.folder, "an image processor"):
            processor = require("transformers", "data").AutoImageProcessor.from_pretrained(
                checkpoint.folder, trust_remote_code=False
            )
        return tower.to(device).eval(), processor


def _width(model: PreTrainedModel) -> int:
    return getattr(model.config, "vision_config", model.config).hidden_size
