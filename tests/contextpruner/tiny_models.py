"""A tiny model on disk for every labeler that needs one, by the labeler's name."""

from __future__ import annotations

from pathlib import Path

from tests.contextpruner import tiny_checkpoints
from tests.contextpruner.tiny_encoder import save_tiny_encoder

WRITERS = {
    "bi_encoder": save_tiny_encoder,
    "cross_encoder": tiny_checkpoints.cross_encoder,
    "late_interaction": save_tiny_encoder,
    "llmlingua2": tiny_checkpoints.llmlingua2,
    "provence": tiny_checkpoints.open_provence,
    "token_nll": tiny_checkpoints.causal_lm,
}


def save_tiny_model(labeler: str, folder: Path) -> Path:
    """Write the model of `labeler` under `folder` and return the path to load it from."""
    if labeler not in WRITERS:
        raise ValueError(f"want a tiny model for {labeler}: add its writer to {__file__}")
    return WRITERS[labeler](folder)
