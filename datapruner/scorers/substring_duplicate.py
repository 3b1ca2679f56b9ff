"""Repeated passages across the corpus (Lee et al. 2022, Deduplicating training data, arXiv:2107.06499).

    score = tokens that lie in a run of `words` words which the corpus has more than once / tokens of the text

Higher has more that stands elsewhere too, or twice in the row itself. The paper finds such runs of 50 tokens with a
suffix array and cuts all of them out; here each is known by a hash, and the score says how much of the row it
would be. Words are folded (_words.py); a text with fewer words than that has 0. `fit` takes 16 bytes of memory for each
word of the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scorers._repeated import Repeated, contains
from datapruner.scorers._words import WORD, Grams, Tokens, covered_shares, runs, tokens
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class SubstringDuplicate(Scorer):
    """Paper: Lee et al. 2022 (arXiv:2107.06499); share of tokens in runs of `words` words that come more than once."""

    words: int = 50

    direction: ClassVar[str] = "higher has more passages that stand elsewhere too; in [0, 1]"
    cost: ClassVar[str] = "a hash a window of the text, in two passes over it"
    default_selector: ClassVar[str] = "threshold:maximum=0.3"

    def check(self) -> None:
        if self.words < 1:
            raise ValueError(f"substring_duplicate wants words of at least 1, got {self.words}")

    def fit(self, corpus: Iterable[Batch]) -> State:
        self.check()
        counted = Repeated()
        for batch in corpus:
            for _, found, whole in self._runs(batch):
                counted.add(found.hashes[whole])
        return {"runs": counted.at_least(2)}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "runs" not in state:
            raise ValueError("substring_duplicate wants the state that fit(corpus) returned")
        scores = np.zeros(len(batch), np.float32)
        for block, found, whole in self._runs(batch):
            hit = whole & contains(state["runs"], found.hashes)
            scores[block.texts] = covered_shares(block, found.first[hit], found.last[hit])
        return scores

    def _runs(self, batch: Batch) -> Iterator[tuple[Tokens, Grams, np.ndarray]]:
        """Runs of a block of texts, and which of them have all the words that are wanted."""
        for block in tokens(batch.texts):
            found = runs(block, self.words * WORD)
            reach = np.concatenate([[0], block.parts.cumsum()])
            yield block, found, reach[found.last] - reach[found.first] >= self.words * WORD
