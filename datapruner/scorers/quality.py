"""A linear quality classifier of hashed words and word pairs, as in DCLM (Li et al. 2024, arXiv:2406.11794).

    score = log-odds that the text is of the positive corpus and not of the negative one

Higher is more like the positive corpus; 0 is as like one as the other, both taken as equally frequent. DCLM takes
instructions and well-liked explanations as positive, pages of the web as negative, and keeps the top tenth. Features
are the counts of hashed words and pairs, scaled to length 1; the classifier is logistic regression, whose optimum does
not hang on the order of the texts. At most `rows` texts of each corpus are learned from, drawn by their own hash.

What was learned is a file of the column, `<table>/<column>/fit.safetensors`: `classifier` takes it and nothing is
learned anew, so that one classifier scores many corpora.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from datapruner.corpus.second_corpus import SECOND_CORPUS, SecondCorpus
from datapruner.corpus.uids import hash64, splitmix64
from datapruner.scorers._drawn import Drawn
from datapruner.scorers._hashed_words import hashed_words
from datapruner.scorers._linear_head import checked_head, head_identity
from datapruner.scoring.scorer import COSMETIC, NOTHING, Batch, Scorer, State
from prunekernels.extras import require

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Quality(Scorer):
    """Paper: Li et al. 2024, DCLM (arXiv:2406.11794); log-odds of a linear classifier of hashed words and pairs.

    `positive` and `negative` are paths of corpora with their texts in the field `text`; without `negative` the corpus
    itself stands for it. `classifier` is the fit.safetensors of an earlier column. `c` is the inverse of the penalty.
    """

    positive: str = field(default="", metadata=SECOND_CORPUS)
    negative: str | None = field(default=None, metadata=SECOND_CORPUS)
    text: str = "text"
    classifier: str | None = field(default=None, metadata=COSMETIC)
    buckets: int = 1 << 18
    rows: int = 100_000
    c: float = 10.0
    seed: int = 0

    direction: ClassVar[str] = "higher is more like the positive corpus; log-odds"
    cost: ClassVar[str] = "one pass over the text, a hash a word and pair; fit: logistic regression on the examples"

    def check(self) -> None:
        if self.buckets < 2 or self.rows < 1 or not self.c > 0:
            raise ValueError(
                f"quality wants buckets of at least 2, rows of at least 1 and c above 0, got {self.buckets}, "
                f"{self.rows} and {self.c}"
            )
        if self.classifier:
            if self.positive or self.negative:
                raise ValueError("quality wants a classifier or corpora to learn one from, got both")
            self._saved()
            return
        self._corpus("positive").check()
        if self.negative:
            self._corpus("negative").check()

    def identity(self) -> dict[str, str]:
        if self.classifier:
            return {"classifier": head_identity(Path(self.classifier))}
        named = [name for name in ("positive", "negative") if getattr(self, name)]
        return {name: self._corpus(name).fingerprint() for name in named}

    def fit(self, corpus: Iterable[Batch]) -> State:
        if self.classifier:
            return self._saved()
        positive = self._drawn(self._corpus("positive").texts())
        others = self._corpus("negative").texts() if self.negative else (batch.texts for batch in corpus)
        negative = self._drawn(others)
        if not negative:
            return {"weight": np.zeros(self.buckets, np.float32), "bias": np.zeros(1, np.float32)}
        linear = require("sklearn.linear_model", "data")
        model = linear.LogisticRegression(C=self.c, class_weight="balanced", tol=1e-6, max_iter=1000)
        model.fit(self._features([*positive, *negative]), np.arange(len(positive) + len(negative)) < len(positive))
        return {"weight": model.coef_[0].astype(np.float32), "bias": model.intercept_.astype(np.float32)}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "weight" not in state:
            raise ValueError("quality wants the state that fit(corpus) returned")
        weight, found = state["weight"].astype(np.float64), np.zeros(len(batch))
        for block in hashed_words(batch.texts, self.buckets):
            n = block.texts.stop - block.texts.start
            # a row's own features, whatever stands beside it
            key, counts = np.unique(block.owners * self.buckets + block.buckets, return_counts=True)
            owners, buckets = key // self.buckets, key % self.buckets
            norms = np.sqrt(np.bincount(owners, counts**2, minlength=n)).clip(1)
            found[block.texts] = np.bincount(owners, counts * weight[buckets], minlength=n) / norms
        return (found + state["bias"][0]).astype(np.float32)

    def _corpus(self, name: str) -> SecondCorpus:
        return SecondCorpus(getattr(self, name) or "", f"quality.{name}", self.text)

    def _drawn(self, texts: Iterable[Sequence[str]] | Iterator[Sequence[str]]) -> list[str]:
        drawn: Drawn[str] = Drawn(self.rows)
        for some in texts:
            drawn.add(splitmix64(hash64(some), self.seed), some)
        return drawn.items()

    def _features(self, texts: Sequence[str]) -> csr_matrix:
        """Counts of each text, scaled to length 1, [texts, buckets]."""
        sparse, parts = require("scipy.sparse", "data"), []
        for block in hashed_words(texts, self.buckets):
            shape = (block.texts.stop - block.texts.start, self.buckets)
            parts.append(sparse.csr_matrix((np.ones(len(block.owners)), (block.owners, block.buckets)), shape))
        return require("sklearn.preprocessing", "data").normalize(sparse.vstack(parts, format="csr"))

    def _saved(self) -> State:
        return checked_head(Path(self.classifier or ""), "quality.classifier", self.buckets)
