"""Hashed n-grams (Weinberger et al. 2009, arXiv:0902.2206): a text's words and word pairs, hashed into d numbers.

    x_j = sum over n-grams g with hash(g) = j of sign(g) count(g),    scaled to length 1

No model and no vocabulary: the same on every machine, tens of thousands of texts a second and core. It sees the
words of a text, not their meaning. `unit` "character" takes character n-grams inside words instead, for scripts
without spaces between words. A text without any n-gram is a zero vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from datapruner.scoring.scorer import NOTHING, Batch, Embedder, State
from prunekernels.extras import require


@dataclass(frozen=True)
class HashedNgrams(Embedder):
    """Paper: Weinberger et al. 2009 (arXiv:0902.2206); signed hashes of the n-grams of 1 to `longest` units."""

    dims: int = 512
    unit: Literal["word", "character"] = "word"
    longest: int = 2

    direction: ClassVar[str] = "words in common are a larger dot product"
    cost: ClassVar[str] = "a hash an n-gram: one pass over the text"

    def check(self) -> None:
        if self.dims < 1 or self.longest < 1 or self.unit not in ("word", "character"):
            raise ValueError(
                "hashed_ngrams wants dims and longest of at least 1 and unit word or character, got "
                f"{self.dims}, {self.longest} and {self.unit!r}"
            )

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if not len(batch):
            return np.zeros((0, self.dims), np.float32)
        text = require("sklearn.feature_extraction.text", "data")
        hasher = text.HashingVectorizer(
            n_features=self.dims,
            ngram_range=(1, self.longest),
            analyzer="word" if self.unit == "word" else "char_wb",
            # every word counts, those of one letter too
            token_pattern=r"(?u)\w+",  # noqa: S106
            dtype=np.float32,
        )
        return hasher.transform(batch.texts).toarray()
