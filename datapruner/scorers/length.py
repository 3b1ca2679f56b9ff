"""Length of the text, in characters (Unicode code points), words (runs between white space) or tokens.

Higher is longer. The plainest baseline: a score that picks no better than length need not be computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.token_counter import TokenCounter, token_counter
from datapruner.scoring.scorer import COSMETIC, NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class Length(Scorer):
    """Rule: the number of characters, words or tokens of the text.

    `tokenizer` is a folder or hub id; without one tokens are estimated, ceil(bytes of UTF-8 / 4).
    """

    unit: Literal["characters", "words", "tokens"] = "characters"
    tokenizer: str | None = field(default=None, metadata=COSMETIC)

    is_cheap: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is longer"
    cost: ClassVar[str] = "one pass over the text"
    default_selector: ClassVar[str] = "middle"

    def check(self) -> None:
        if self.unit not in ("characters", "words", "tokens"):
            raise ValueError(f"length.unit wants characters, words or tokens, got {self.unit!r}")
        if self.tokenizer is not None and self.unit != "tokens":
            raise ValueError(f"length wants a tokenizer for unit tokens only, got one for {self.unit}")

    def identity(self) -> dict[str, str]:
        return {"tokens": self._counter.described} if self.unit == "tokens" else {}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if self.unit == "tokens":
            return self._counter.count(batch.texts).astype(np.float32)
        counts = [len(text) if self.unit == "characters" else len(text.split()) for text in batch.texts]
        return np.array(counts, dtype=np.float32)

    @cached_property
    def _counter(self) -> TokenCounter:
        return token_counter(self.tokenizer)
