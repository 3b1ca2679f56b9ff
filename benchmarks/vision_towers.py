"""A tower that classifies, for what pruning costs it: DINOv2-S under a linear head, fitted to the whole of it.

    digits     scikit-learn's, 8 x 8 pixels, drawn larger
    a folder   train/CLASS/PICTURE and test/CLASS/PICTURE

The head is a logistic regression on the class token and the mean over the patches, as transformers' own reads them; a
merged token counts as often in the mean as it has patches. What is measured is the top-1 of pictures that it never saw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

BATCH, SIDE = 50, 112


@dataclass(frozen=True)
class Labelled:
    """`pixels` bfloat16 [N, 3, 112, 112] and their classes, int64 [N]."""

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


def digits(n_train: int, n_test: int) -> tuple[Labelled, Labelled]:
    """The digits, drawn by seed 0."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))[: n_train + n_test]
    small = torch.from_numpy(data.images).float()[order, None] / 16
    large = nn.functional.interpolate(small, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1).expand(-1, 3, -1, -1)
    pixels, labels = normalized(large).bfloat16(), torch.from_numpy(data.target).long()[order]
    return Labelled(pixels[:n_train], labels[:n_train]), Labelled(pixels[n_train:], labels[n_train:])


def pictures(folder: Path, n: int) -> Labelled:
    """The first pictures of each class, `n` in all."""
    import numpy as np
    from PIL import Image

    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    found, labels = [], []
    for number, own in enumerate(classes):
        for path in sorted(own.iterdir())[: n // len(classes)]:
            with Image.open(path) as opened:
                picture = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            found.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255)
            labels.append(number)
    return Labelled(normalized(torch.stack(found)).bfloat16(), torch.tensor(labels))


def with_head(tower: Path, name: str, train: Labelled, test: Labelled) -> Classifier:
    """DINOv2 of the folder `tower`, in bfloat16, and a head fitted to `train`."""
    from sklearn.linear_model import LogisticRegression
    from transformers import Dinov2ForImageClassification

    n_classes = int(train.labels.max()) + 1
    model = Dinov2ForImageClassification.from_pretrained(tower, num_labels=n_classes, dtype=torch.bfloat16).eval()
    features = _features(model.dinov2, train.pixels)
    mean, spread = features.mean(0), features.std(0)
    fitted = LogisticRegression(C=0.01, max_iter=300).fit(((features - mean) / spread).numpy(), train.labels.numpy())
    weight = torch.from_numpy(fitted.coef_).float() / spread
    with torch.no_grad():
        model.classifier.weight.copy_(weight)
        model.classifier.bias.copy_(torch.from_numpy(fitted.intercept_).float() - weight @ mean)
    return Classifier(f"DINOv2-S, {name}", model, test)


@torch.inference_mode()
def _features(tower: Callable[..., object], pixels: torch.Tensor) -> torch.Tensor:
    """What the head of transformers reads: the class token, and the mean over the patches; float32 [N, 2 D]."""
    found = []
    for batch in pixels.split(BATCH):
        hidden: torch.Tensor = getattr(tower(batch), "last_hidden_state")  # noqa: B009
        found.append(torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], 1))
    return torch.cat(found).float()
