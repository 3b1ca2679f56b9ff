"""How many tokens a text has, by the tokenizer of a model or by an estimate (bytes of UTF-8 / 4, rounded up).

Higher is longer. A budget in tokens is spent by such a column where it names one: `Budget(tokens=10**9,
counted_by="tokens")`. So one table serves models with other tokenizers, without scoring anything again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from datapruner.corpus.token_counter import TokenCounter, token_counter
from datapruner.scoring.scorer import COSMETIC, Batch, Scorer


@dataclass(frozen=True)
class Tokens(Scorer):
    """Rule: the number of tokens; `tokenizer` is a folder or hub id, without one it is estimated."""

    tokenizer: str | None = field(default=None, metadata=COSMETIC)

    is_cheap: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is longer"
    cost: ClassVar[str] = "one pass of the tokenizer"
    default_selector: ClassVar[str] = "middle"

    def check(self) -> None:
        self.identity()

    def identity(self) -> dict[str, str]:
        return {"tokens": self._counter.described}

    def score(self, batch: Batch) -> np.ndarray:
        return self._counter.count(batch.texts).astype(np.float32)

    @cached_property
    def _counter(self) -> TokenCounter:
        return token_counter(self.tokenizer)
