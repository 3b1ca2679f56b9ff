"""How many tokens a text has: by a tokenizer, or by an estimate that says so.

The estimate is one token for four bytes of UTF-8, rounded up: about right for English and modern tokenizers, too
many for digits and code with a large vocabulary, and up to twice too many for scripts of three bytes a letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from prunekernels.extras import require
from prunekernels.io.checkpoint import folder_of
from prunekernels.io.model_loading import loading_errors
from prunekernels.io.module_folders import VOCABULARIES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# of a hub's repository what a tokenizer is made of
_WANTED = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja")

ESTIMATE = "estimate: utf-8 bytes / 4, rounded up"


class TokenCounter(Protocol):
    """Counts tokens."""

    @property
    def described(self) -> str:
        """What is counted, for the manifest: no place, the same on every machine."""

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """The number of tokens of each text, int64 [n]."""


def token_counter(tokens: str | None) -> TokenCounter:
    """The counter that `Source.tokens` asks for; raises ValueError where there is no such tokenizer."""
    return Estimate() if tokens is None else Tokenizer(tokens)


@dataclass(frozen=True)
class Estimate:
    """ceil(bytes of UTF-8 / 4)."""

    described: str = ESTIMATE

    def count(self, texts: Sequence[str]) -> np.ndarray:
        sizes = [len(text) if text.isascii() else len(text.encode()) for text in texts]
        return -(-np.array(sizes, dtype=np.int64) // 4)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`; raises ValueError where there is none that can be read."""
    if not any(path.is_file() for pattern in VOCABULARIES for path in folder.glob(pattern)):
        raise ValueError(f"{folder}: want a tokenizer, got none")
    with loading_errors(folder, "a tokenizer"):
        transformers = require("transformers", "data")
        return transformers.AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)


class Tokenizer:
    """The tokenizer of a folder or hub id, without the special tokens that it would add."""

    def __init__(self, name: str) -> None:
        self.tokenizer = load_tokenizer(folder_of(name, _WANTED))
        if not self.tokenizer.is_fast:
            raise ValueError(f"{name}: want a tokenizer with a tokenizer.json (a fast one)")
        backend = self.tokenizer.backend_tokenizer
        # a length is only right where nothing is cut off or filled up
        backend.no_truncation()
        backend.no_padding()
        self.described = f"tokenizer: blake2b {blake2b(backend.to_str().encode(), digest_size=16).hexdigest()}"

    def count(self, texts: Sequence[str]) -> np.ndarray:
        encoded = self.tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return np.array([len(item) for item in encoded], dtype=np.int64)
