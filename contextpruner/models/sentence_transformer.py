"""Sentence-transformers models, of modules that read safetensors and run no code of their own (`module_folders`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prunekernels.extras import require
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.io.model_loading import check_sentence_transformer, loading_errors, quiet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_sentence_transformer(model: str, device: str | None = None) -> SentenceTransformer:
    """The model at the path or hub id `model`, float32; raises ValueError where it is none that is let through."""
    library = require("sentence_transformers", "context")
    checkpoint = find_checkpoint(model)
    check_sentence_transformer(checkpoint)
    with quiet(), loading_errors(checkpoint.folder, "a model that sentence-transformers can load"):
        return library.SentenceTransformer(
            str(checkpoint.folder),
            device=device,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
