"""Exact duplicates: how many earlier rows have the same text.

    score = number of earlier rows with the same words, 0 for the first

Higher is a later copy. Texts are the same where their words are, folded as for near duplicates (_words.py): spaces,
punctuation, case and the form of the same letters do not matter; with of="bytes" everything does. "Earlier" is by the
64-bit hash of the uid, so that nothing hangs on the order of the file; with keep="first" it is the order of the corpus.
Rows of an older corpus come before all. one_of_each chooses anew which copy stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.second_corpus import SECOND_CORPUS, SecondCorpus
from datapruner.corpus.uids import hash64
from datapruner.scorers._copy_state import copy_details
from datapruner.scorers._equal import equal_state
from datapruner.scorers._words import tokens
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class ExactDuplicate(Scorer):
    """Rule: the number of earlier rows whose text has the same words, or the same bytes.

    `against` is an older corpus, whose rows all come earlier, with its texts in `against_text`.
    """

    of: Literal["words", "bytes"] = "words"
    keep: Literal["drawn", "first"] = "drawn"
    against: str | None = field(default=None, metadata=SECOND_CORPUS)
    against_text: str = "text"

    scores_by_number: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is a later copy, 0 the first"
    cost: ClassVar[str] = "a hash a row"
    default_selector: ClassVar[str] = "threshold:maximum=0"

    def check(self) -> None:
        if self.of not in ("words", "bytes") or self.keep not in ("drawn", "first"):
            raise ValueError(
                f"exact_duplicate wants of words or bytes and keep drawn or first, got {self.of!r} and {self.keep!r}"
            )
        if self.against is not None:
            self._older.check()

    def identity(self) -> dict[str, str]:
        return {} if self.against is None else {"against": self._older.fingerprint()}

    def fit(self, corpus: Iterable[Batch]) -> State:
        self.check()
        rows = ((batch.uids, self._hashes(batch.texts)) for batch in corpus)
        older = self._older.chunks() if self.against is not None else ()
        return equal_state(rows, ((chunk.uids, self._hashes(chunk.texts)) for chunk in older), self.keep == "first")

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "counts" not in state:
            raise ValueError("exact_duplicate wants the state that fit(corpus) returned")
        return state["counts"][batch.rows].astype(np.float32)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        return copy_details(batch, state)

    @property
    def _older(self) -> SecondCorpus:
        return SecondCorpus(self.against or "", "exact_duplicate.against", self.against_text)

    def _hashes(self, texts: Sequence[str]) -> np.ndarray:
        if self.of == "bytes":
            return hash64(texts)
        return np.concatenate([np.zeros(0, np.uint64), *(block.wholes for block in tokens(texts))])
