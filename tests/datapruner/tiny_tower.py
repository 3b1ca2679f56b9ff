"""A tiny random vision tower with its image processor, no network needed."""

from __future__ import annotations

from pathlib import Path


def save_tiny_tower(folder: Path) -> Path:
    """Write a one-layer DINOv2 and return its folder."""
    import torch
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14, initializer_range=0.3
    )
    Dinov2Model(config).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    BitImageProcessor(size=size, do_center_crop=False, do_convert_rgb=True).save_pretrained(folder)
    return folder
