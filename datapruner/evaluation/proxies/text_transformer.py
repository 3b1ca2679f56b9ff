"""A small transformer that classifies texts: words by their hashes, so that no vocabulary is learned from any rows.

A text is its first `words` words, lower case; a word is a place in a table of `table` embeddings. In front stands a
token of its own, behind which an empty text is a text. The mean over all tokens goes into the last layer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.corpus.uids import hash64
from datapruner.evaluation.proxies._classifier import ClassifierProxy
from datapruner.evaluation.proxy import Rows

PAD, FRONT, FIRST_WORD = 0, 1, 2
_WORD = re.compile(r"\w+")


class WordTransformer(torch.nn.Module):
    """int64 [n, t] to float [n, width]."""

    def __init__(self, table: int, length: int, width: int, layers: int) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(table, width, padding_idx=PAD)
        self.places = torch.nn.Parameter(torch.randn(length, width) * 0.02)
        heads = next(n for n in (4, 2, 1) if width % n == 0)
        self.layers = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(width, heads, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = torch.nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        # what is padded in every row is not computed
        tokens = tokens[:, : max(1, int((tokens != PAD).sum(1).max()))]
        pads = tokens == PAD
        hidden = self.words(tokens) + self.places[: tokens.shape[1]]
        for layer in self.layers:
            hidden = layer(hidden, src_key_padding_mask=pads)
        there = (~pads)[..., None].to(hidden.dtype)
        return (self.norm(hidden) * there).sum(1) / there.sum(1)


@dataclass(frozen=True)
class TextTransformer(ClassifierProxy):
    """Rule: `layers` transformer layers of `width` on the first `words` words of a text."""

    words: int = 64
    table: int = 8192
    width: int = 64
    layers: int = 1

    needs: ClassVar[tuple[str, ...]] = ("texts", "labels")
    cost: ClassVar[str] = "table width + 12 layers width^2 parameters; a forward and a backward pass a step"

    def check(self) -> None:
        super().check()
        if self.words < 1 or self.table <= FIRST_WORD or self.width < 4 or self.layers < 1:
            raise ValueError(
                f"text_transformer wants words and layers of at least 1, a table of at least {FIRST_WORD + 1} and a "
                f"width of at least 4, got {self.words}, {self.layers}, {self.table} and {self.width}"
            )

    def inputs(self, train: Rows, test: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        return self._tokens(train.texts or ()), self._tokens(test.texts or ())

    def body(self, inputs: torch.Tensor) -> tuple[torch.nn.Module, int]:
        return WordTransformer(self.table, inputs.shape[1], self.width, self.layers), self.width

    def _tokens(self, texts: Sequence[str]) -> torch.Tensor:
        split = [_WORD.findall(text.lower())[: self.words] for text in texts]
        known = sorted({word for words in split for word in words})
        places = hash64(known) % np.uint64(self.table - FIRST_WORD) + np.uint64(FIRST_WORD)
        number = dict(zip(known, places.astype(np.int64).tolist(), strict=True))
        tokens = np.full((len(texts), self.words + 1), PAD, np.int64)
        tokens[:, 0] = FRONT
        for row, words in enumerate(split):
            tokens[row, 1 : len(words) + 1] = [number[word] for word in words]
        return torch.from_numpy(tokens)
