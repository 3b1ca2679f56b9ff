"""Perplexity of the text under a causal language model (Marion et al. 2023, Ankner et al. 2024).

    perplexity = exp(mean over scored tokens of -log p(token | tokens before it in its window))

Higher is harder for the model. No BOS is put in front and the first token is not scored. A text of more than
`window` tokens is scored in consecutive windows that overlap in one token, so that every token but the very
first is scored once; its mean is over all of them. A text of fewer than 2 tokens gets the vocabulary's size,
the perplexity of knowing nothing. Windows are batched by length inside a batch of rows, so that few pads are
computed and the score hangs neither on its neighbours nor on its place, up to the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch

from datapruner.scorers import _causal_lm
from datapruner.scoring import progress
from datapruner.scoring.scorer import COSMETIC, NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class Perplexity(Scorer):
    """Paper: Ankner et al. 2024, Perplexed by Perplexity (arXiv:2405.20541); exp of the mean token loss.

    `model` is a folder or hub id; `device` "auto" is CUDA where there is one; `batch_tokens` bounds a batch, pads
    included, and defaults to what keeps the device busy: 1024 on a CPU, 16384 elsewhere.
    """

    model: str = field(default="HuggingFaceTB/SmolLM2-135M", metadata=COSMETIC)
    window: int = 1024
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_tokens: int | None = field(default=None, metadata=COSMETIC)
    device: str = field(default="auto", metadata=COSMETIC)

    direction: ClassVar[str] = "higher is harder for the model"
    default_selector: ClassVar[str] = "middle"

    def check(self) -> None:
        if self.window < 2 or (self.batch_tokens is not None and self.batch_tokens < 1):
            raise ValueError(
                f"perplexity wants a window of at least 2 and batch_tokens of at least 1, got {self.window} and "
                f"{self.batch_tokens}"
            )
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"perplexity.dtype wants float32 or bfloat16, got {self.dtype!r}")
        longest = _causal_lm.longest_window(self.model)
        if longest is not None and self.window > longest:
            raise ValueError(f"perplexity.window is {self.window}, {self.model} has {longest} positions")

    def identity(self) -> dict[str, str]:
        return {"model": _causal_lm.checked_checkpoint(self.model).identity}

    @torch.inference_mode()
    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        documents = self._loaded.tokenize(batch.texts)
        windows = [window for i, ids in enumerate(documents) for window in _windows(i, ids, self.window)]
        share = 1 / np.bincount([window.document for window in windows], minlength=len(documents)).clip(1)
        losses, tokens = np.zeros(len(documents)), np.zeros(len(documents), dtype=np.int64)
        limit = self.batch_tokens or (1024 if self._loaded.model.device.type == "cpu" else 16384)
        for some in _batches(windows, limit):
            for window, loss in zip(some, self._loaded.losses([window.ids for window in some]), strict=True):
                if not loss.isfinite().all():
                    raise ValueError(f"perplexity: the model's loss is not finite on {batch.uids[window.document]!r}")
                losses[window.document] += float(loss.double().sum())
                tokens[window.document] += len(loss)
            rows = float(sum(share[window.document] for window in some))
            progress.advance(rows, sum(len(window.ids) for window in some))
        known = np.exp(np.minimum(losses / tokens.clip(1), np.log(np.finfo(np.float32).max)))
        return np.where(tokens > 0, known, self._loaded.vocabulary).astype(np.float32)

    @cached_property
    def _loaded(self) -> _causal_lm.LanguageModel:
        self.check()
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return _causal_lm.load(self.model, getattr(torch, self.dtype), device)


@dataclass(frozen=True)
class _Window:
    """Token ids of a piece of document number `document`."""

    document: int
    ids: list[int]


def _windows(document: int, ids: list[int], size: int) -> Iterator[_Window]:
    """Pieces of at most `size` tokens, each beginning with the last token of the one before."""
    for start in range(0, len(ids) - 1, size - 1):
        yield _Window(document, ids[start : start + size])


def _batches(windows: Sequence[_Window], tokens: int) -> Iterator[list[_Window]]:
    """Windows of like length together, the longest first; with its pads a batch has at most `tokens` or one window."""
    batch: list[_Window] = []
    for window in sorted(windows, key=lambda window: -len(window.ids)):
        # the first of a batch is its longest
        if batch and len(batch[0].ids) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
