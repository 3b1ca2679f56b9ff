"""Repeated lines across the corpus: menus, notices and other boilerplate (Wenzek et al. 2020, CCNet, arXiv:1911.00359).

    score = letters and digits in lines that at least `rows` rows have / letters and digits of the text

Higher is more boilerplate. Lines are compared by their words, folded (_words.py), a line without any by its signs.
Of rows that share a line all are counted, the first too: what stands in many rows is of none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.corpus.uids import hash64
from datapruner.scorers._repeated import Repeated, contains
from datapruner.scorers._words import words
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class LineDuplicate(Scorer):
    """Paper: Wenzek et al. 2020, CCNet (arXiv:1911.00359); share of the text in lines that other rows have too."""

    rows: int = 2

    direction: ClassVar[str] = "higher has more lines that other rows have; in [0, 1]"
    cost: ClassVar[str] = "a hash a line, in two passes over the text"
    default_selector: ClassVar[str] = "threshold:maximum=0.3"

    def check(self) -> None:
        if self.rows < 2:
            raise ValueError(f"line_duplicate wants rows of at least 2, got {self.rows}")

    def fit(self, corpus: Iterable[Batch]) -> State:
        self.check()
        counted = Repeated()
        for batch in corpus:
            # once a row, however often it has the line
            for text in batch.texts:
                counted.add(np.unique(_lines(text)[0]))
        return {"lines": counted.at_least(self.rows)}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "lines" not in state:
            raise ValueError("line_duplicate wants the state that fit(corpus) returned")
        return np.array([_share(text, state["lines"]) for text in batch.texts], np.float32)


def _share(text: str, known: np.ndarray) -> float:
    hashes, lengths = _lines(text)
    return float(lengths[contains(known, hashes)].sum() / max(1, lengths.sum()))


def _lines(text: str) -> tuple[np.ndarray, np.ndarray]:
    """A hash of the words of each line that has any, uint64 [n], and its letters, int64 [n]."""
    found: Sequence[str] = ["".join(words(line)) for line in text.splitlines() if not line.isspace()]
    found = [line for line in found if line]
    return hash64(found), np.array([len(line) for line in found], np.int64)
