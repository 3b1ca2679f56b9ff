"""A small record of training dynamics on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from datapruner.training.recorder import DynamicsRecorder


def save_tiny_record(path: Path, uids: Sequence[str], epochs: int = 12, seed: int = 0) -> Path:
    """Random logits of three classes, some rows of which are forgotten."""
    recorder, draw = DynamicsRecorder(), torch.Generator().manual_seed(seed)
    labels = torch.arange(len(uids)) % 3
    ease = torch.linspace(-2, 3, len(uids))[:, None] * torch.nn.functional.one_hot(labels, 3)
    for _ in range(epochs):
        recorder.log(uids, ease + torch.randn(len(uids), 3, generator=draw), labels)
    recorder.save(path)
    return path
