"""Passage quality without a question: which passages of an index are worth keeping before anything is retrieved.

An index shrinks by what no question will ever want: boilerplate, lists of links, texts that say nothing of their own
(Chang et al. 2024, arXiv:2407.12170, "static pruning" of passages). A measure is a frozen dataclass in
`qualities/<name>.py`; it writes `score`, and `fit` where it has to see all passages first. Higher is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import torch

from contextpruner.documents.document import HasText, read_document
from prunekernels import budget, select, spec

QUALITIES = "contextpruner.qualities"

Passages = Callable[[], Iterable[str | HasText]]


class Quality(ABC):
    """Base of all measures."""

    @property
    def fits(self) -> bool:
        """Whether the measure has to see all passages before it scores one."""
        return type(self).fit is not Quality.fit

    def fit(self, passages: Iterable[str]) -> Quality:
        """See all passages once; returns the measure that scores them. Most measures need not."""
        return self

    @abstractmethod
    def score(self, passage: str) -> float:
        """One finite number for a passage, higher for one that is worth more."""

    def scores(self, passages: Iterable[str]) -> Iterator[float]:
        """`score` of each passage, in order; a measure that is quicker on many at a time reads ahead."""
        return map(self.score, passages)


@dataclass(frozen=True, eq=False)
class IndexPruning:
    """`kept` int64 [k]: the passages that stay, ascending; `scores` float32 [n].

    `copy_of` int64 [n]: the first passage with the very same text, -1 where a passage is the first.
    """

    kept: np.ndarray
    scores: np.ndarray
    copy_of: np.ndarray

    def reason(self, number: int) -> str:
        """Why passage `number` is dropped, or "kept"."""
        if number in self._kept:
            return "kept"
        return "low_quality" if self.copy_of[number] < 0 else "copy"

    @cached_property
    def _kept(self) -> frozenset[int]:
        return frozenset(self.kept.tolist())


def build_quality(text: str) -> Quality:
    """The measure that `text` describes, say "divergence"."""
    return spec.build(QUALITIES, text, Quality)  # type: ignore[type-abstract]


def prune_index(
    passages: Passages,
    quality: str | Quality = "divergence",
    keep_ratio: float = 0.9,
    *,
    keep_copies: bool = False,
) -> IndexPruning:
    """Keep the best `keep_ratio` of the passages with different texts; ties go to the earlier.

    Of equal texts the first stays, unless `keep_copies`: then each counts by itself.

    `passages` is called for every pass over them, say `lambda: map(json.loads, open(path))`, of which there are two
    where the measure fits; they are never held together. Raises ValueError for no passage and for one without text.
    """
    measure = build_quality(quality) if isinstance(quality, str) else quality
    budget.check_keep_ratio(keep_ratio)
    if measure.fits:
        measure = measure.fit(_texts(passages()))
    firsts = _Firsts()
    scores = np.fromiter(measure.scores(map(firsts.see, _texts(passages()))), dtype=np.float32)
    if not len(scores):
        raise ValueError("want at least one passage, got none")
    if not np.isfinite(scores).all():
        number = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"{type(measure).__name__} wants finite scores, got {scores[number]} for passage {number}")
    copy_of = np.array(firsts.copy_of, dtype=np.int64)
    candidates = np.arange(len(scores)) if keep_copies else np.flatnonzero(copy_of < 0)
    best = select.top(torch.from_numpy(scores[candidates]), budget.n_keep(len(candidates), keep_ratio))
    return IndexPruning(candidates[best.numpy()], scores, copy_of)


class _Firsts:
    """Which of the texts that pass are copies of an earlier one, by their hashes."""

    def __init__(self) -> None:
        self.copy_of: list[int] = []
        self._places: dict[bytes, int] = {}

    def see(self, text: str) -> str:
        number = len(self.copy_of)
        first = self._places.setdefault(blake2b(text.encode(), digest_size=16).digest(), number)
        self.copy_of.append(-1 if first == number else first)
        return text


def _texts(passages: Iterable[str | HasText]) -> Iterator[str]:
    for number, passage in enumerate(passages):
        yield read_document(f"passage {number}", passage).text
