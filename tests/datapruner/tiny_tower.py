"""A tiny random vision tower, and a classifier, each with its image processor, no network needed."""

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


def save_tiny_image_classifier(folder: Path, classes: tuple[str, ...] = ("c0", "c1", "c2")) -> Path:
    """Write a one-layer ViT of these classes and return its folder."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=28, patch_size=14,
        initializer_range=0.3, num_labels=len(classes), id2label=dict(enumerate(classes)),
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder
