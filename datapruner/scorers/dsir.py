"""DSIR: data selection with importance resampling (Xie et al. 2023, arXiv:2302.03169).

    score = sum over words and word pairs of log p_target(bucket) - log p_corpus(bucket)

Words and pairs are hashed into 10,000 buckets; p is a bucket's share of all words and pairs of the target examples, and
of the corpus, plus 1e-8. Higher is more like the target and less like the corpus at large. The sum is the log of a
document's importance weight, so long documents have the largest scores of both signs; `per="word"` takes the mean
instead, which is another method. The paper does not keep the top: it draws without replacement with these weights,
which the selector `gumbel` does. What is hashed here and how is ours, so scores differ from other implementations by
which words share a bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.second_corpus import SECOND_CORPUS, SecondCorpus
from datapruner.scorers._hashed_words import bucket_counts, hashed_words
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State

# keeps the logarithm of an empty bucket finite
SMOOTHING = 1e-8


@dataclass(frozen=True)
class Dsir(Scorer):
    """Paper: Xie et al. 2023 (arXiv:2302.03169); log importance weight of hashed words and pairs.

    `target` is the corpus of examples, a path as sources take it, with its texts in the field `target_text`.
    """

    target: str = field(default="", metadata=SECOND_CORPUS)
    target_text: str = "text"
    buckets: int = 10_000
    per: Literal["document", "word"] = "document"

    direction: ClassVar[str] = "higher is more like the target"
    cost: ClassVar[str] = "one pass over the text and one more to fit, a hash a word and pair"
    default_selector: ClassVar[str] = "gumbel"

    def check(self) -> None:
        if self.buckets < 2 or self.per not in ("document", "word"):
            raise ValueError(
                f"dsir wants at least 2 buckets and per document or word, got {self.buckets} and {self.per!r}"
            )
        self._examples.check()

    def identity(self) -> dict[str, str]:
        return {"target": self._examples.fingerprint()}

    def fit(self, corpus: Iterable[Batch]) -> State:
        target = self._log_shares(self._examples.texts())
        return {"log_ratio": target - self._log_shares(batch.texts for batch in corpus)}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "log_ratio" not in state:
            raise ValueError("dsir wants the state that fit(corpus) returned")
        total = np.zeros(len(batch))
        for block in hashed_words(batch.texts, self.buckets):
            n = block.texts.stop - block.texts.start
            sums = np.bincount(block.owners, state["log_ratio"][block.buckets], minlength=n)
            if self.per == "word":
                sums = sums / np.bincount(block.owners, minlength=n).clip(1)
            total[block.texts] = sums
        return total.astype(np.float32)

    def _log_shares(self, texts: Iterable[Sequence[str]]) -> np.ndarray:
        """The log of each bucket's share of all words and pairs, smoothed, float64 [buckets]."""
        total = np.zeros(self.buckets, dtype=np.int64)
        for some in texts:
            total += bucket_counts(some, self.buckets)
        return np.log(total / max(total.sum(), 1) + SMOOTHING)

    @property
    def _examples(self) -> SecondCorpus:
        return SecondCorpus(self.target, "dsir.target", self.target_text)
