"""Embeddings of any sentence-transformers model, scaled to length 1.

What is longer than the model's window is judged by its beginning. Texts are sorted by length into batches by
the library; a text's vector is the same in any company up to float32 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from datapruner.scoring.scorer import COSMETIC, NOTHING, Batch, Embedder, State
from prunekernels.extras import require
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.io.model_loading import check_sentence_transformer, loading_errors
from prunekernels.io.module_folders import check_modules

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class SentenceTransformerEmbedder(Embedder):
    """Rule: the model's own document embedding, of length 1; `model` is a folder or hub id."""

    model: str = field(default="sentence-transformers/all-MiniLM-L6-v2", metadata=COSMETIC)
    batch_size: int = field(default=64, metadata=COSMETIC)
    device: str | None = field(default=None, metadata=COSMETIC)

    direction: ClassVar[str] = "closer in meaning is a larger dot product"
    cost: ClassVar[str] = "one forward pass: 2 P FLOP a token for P parameters"

    def check(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"sentence_transformer wants a batch_size of at least 1, got {self.batch_size}")

    def identity(self) -> dict[str, str]:
        checkpoint = find_checkpoint(self.model)
        check_modules(checkpoint.folder)
        return {"model": checkpoint.identity}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if not len(batch):
            return np.zeros((0, self._model.get_embedding_dimension() or 0), np.float32)
        options = {"batch_size": self.batch_size, "normalize_embeddings": True, "show_progress_bar": False}
        return self._model.encode_document(list(batch.texts), **options).astype(np.float32)

    @cached_property
    def _model(self) -> SentenceTransformer:
        library, checkpoint = require("sentence_transformers", "context"), find_checkpoint(self.model)
        # releases before 6 import a folder's own code without asking; none of it gets there
        check_sentence_transformer(checkpoint)
        with loading_errors(checkpoint.folder, "a sentence-transformers model"):
            return library.SentenceTransformer(
                str(checkpoint.folder),
                device=self.device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
