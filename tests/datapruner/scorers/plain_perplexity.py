"""Perplexity as it is defined, one document and one window at a time, and texts to score."""

from __future__ import annotations

import math

import numpy as np
import torch

from datapruner import Batch
from tests.datapruner.tiny_models import VOCABULARY

TEXTS = [
    "a",
    "",
    "ab",
    "hello world",
    "x" * 50,
    "naïve 猫 🙂",
    "The quick brown fox jumps over the lazy dog. " * 4,
    "hi",
]


def batch_of(texts: list[str]) -> Batch:
    return Batch(np.arange(len(texts)), [f"u{i}" for i in range(len(texts))], texts)


def plain(model: torch.nn.Module, ids: list[int], window: int) -> float:
    """The definition, one document and one window at a time."""
    if len(ids) < 2:
        return float(VOCABULARY)
    losses = []
    for start in range(0, len(ids) - 1, window - 1):
        piece = ids[start : start + window]
        with torch.no_grad():
            found = model(torch.tensor([piece])).logits[0].log_softmax(-1)
        losses += [-found[place, token].item() for place, token in enumerate(piece[1:])]
    assert len(losses) == len(ids) - 1
    return math.exp(sum(losses) / len(losses))


def many(n: int) -> list[str]:
    return [f"{'word ' * (i % 17)}number {i * i}" for i in range(n)]
