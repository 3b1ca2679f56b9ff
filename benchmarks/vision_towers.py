"""Towers that classify, for what pruning costs them: a small one trained here, and DINOv2-S with a linear head.

    digits     ViT of 12 blocks, 48 wide, on scikit-learn's digits: 8 x 8 pixels, each a patch; trained from scratch
    a folder   train/CLASS/PICTURE and test/CLASS/PICTURE: a logistic regression on the class token and the mean over
               the patches of the whole DINOv2-S, then its head

Both see the whole pictures in training. What is measured is the top-1 of the test part with fewer patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

BATCH, EPOCHS, RATE = 50, 14, 2e-3


@dataclass(frozen=True)
class Labelled:
    """`pixels` [N, C, H, W] and their classes, int64 [N]."""

    pixels: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Classifier:
    """A `model` with logits, and the pictures that it has never seen."""

    name: str
    model: nn.Module
    test: Labelled

    @torch.inference_mode()
    def top1(self) -> float:
        """The share of the pictures that are told right."""
        parts = zip(self.test.pixels.split(BATCH), self.test.labels.split(BATCH), strict=True)
        right = [(self.model(pixels).logits.argmax(-1) == labels).sum() for pixels, labels in parts]
        return int(torch.stack(right).sum()) / len(self.test.labels)


def normalized(pictures: torch.Tensor) -> torch.Tensor:
    """Colours [.., 3, H, W] from 0 to 1, as DINOv2 has them."""
    mean, spread = (torch.tensor(own)[:, None, None] for own in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (pictures - mean) / spread


def digits(n_train: int = 1297, epochs: int = EPOCHS) -> Classifier:
    """The small one, trained with AdamW on `n_train` pictures drawn by seed 0; the others are its test."""
    from sklearn.datasets import load_digits
    from transformers import ViTConfig, ViTForImageClassification

    data = load_digits()
    pixels = torch.from_numpy(data.images).float()[:, None] / 8 - 1
    labels = torch.from_numpy(data.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:n_train], order[n_train:]
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 96}
    config = ViTConfig(**sizes, image_size=8, patch_size=1, num_channels=1, num_labels=10)
    model = ViTForImageClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05)
    steps = epochs * -(-n_train // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for epoch in range(epochs):
        own = train[torch.randperm(n_train, generator=torch.Generator().manual_seed(epoch))]
        for batch in own.split(BATCH):
            optimizer.zero_grad()
            model(pixel_values=pixels[batch], labels=labels[batch]).loss.backward()
            optimizer.step()
            schedule.step()
    return Classifier("ViT, digits", model.eval(), Labelled(pixels[test], labels[test]))


def pictures(folder: Path, n: int, side: int, dtype: torch.dtype) -> Labelled:
    """The first pictures of each class, `n` in all, resized to squares of `side`."""
    import numpy as np
    from PIL import Image

    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    found, labels = [], []
    for number, own in enumerate(classes):
        for path in sorted(own.iterdir())[: n // len(classes)]:
            with Image.open(path) as opened:
                picture = opened.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
            found.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255)
            labels.append(number)
    return Labelled(normalized(torch.stack(found)).to(dtype), torch.tensor(labels))


def with_head(tower: Path, data: Path, side: int, n_train: int, n_test: int) -> Classifier:
    """DINOv2 of the folder `tower`, in bfloat16, and a head fitted to the training part of `data`."""
    from sklearn.linear_model import LogisticRegression
    from transformers import Dinov2ForImageClassification

    train, test = (pictures(data / part, n, side, torch.bfloat16) for part, n in (("train", n_train), ("test", n_test)))
    n_classes = int(train.labels.max()) + 1
    model = Dinov2ForImageClassification.from_pretrained(tower, num_labels=n_classes, dtype=torch.bfloat16).eval()
    features = _features(model.dinov2, train.pixels)
    mean, spread = features.mean(0), features.std(0)
    fitted = LogisticRegression(C=0.01, max_iter=300).fit(((features - mean) / spread).numpy(), train.labels.numpy())
    weight = torch.from_numpy(fitted.coef_).float() / spread
    with torch.no_grad():
        model.classifier.weight.copy_(weight)
        model.classifier.bias.copy_(torch.from_numpy(fitted.intercept_).float() - weight @ mean)
    return Classifier(f"DINOv2-S, {data.name}, {(side // 14) ** 2} patches", model, test)


@torch.inference_mode()
def _features(tower: Callable[..., object], pixels: torch.Tensor) -> torch.Tensor:
    """What the head of transformers reads: the class token, and the mean over the patches; float32 [N, 2 D]."""
    found = []
    for batch in pixels.split(BATCH):
        hidden: torch.Tensor = getattr(tower(batch), "last_hidden_state")  # noqa: B009
        found.append(torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], 1))
    return torch.cat(found).float()
