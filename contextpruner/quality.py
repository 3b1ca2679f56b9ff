"""Passage quality without a question: which passages of an index are worth keeping before anything is retrieved.

An index shrinks by what no question will ever want: boilerplate, lists of links, texts that say nothing of their own
(Chang et al. 2024, arXiv:2407.12170, "static pruning" of passages). A measure is a frozen dataclass in
`qualities/<name>.py`; it writes `score`, and `fit` where it has to see all passages first. Higher is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from contextpruner.documents.document import HasText, check_text
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
    """`kept` int64 [k]: the passages that stay, ascending; `scores` float32 [n]."""

    kept: np.ndarray
    scores: np.ndarray


def build_quality(text: str) -> Quality:
    """The measure that `text` describes, say "divergence"."""
    return spec.build(QUALITIES, text, Quality)  # type: ignore[type-abstract]


def prune_index(passages: Passages, quality: str | Quality = "divergence", keep_ratio: float = 0.75) -> IndexPruning:
    """Keep the best `keep_ratio` of the passages; ties go to the earlier.

    `passages` is called for every pass over them, say `lambda: map(json.loads, open(path))`, of which there are two
    where the measure fits; they are never held together. Raises ValueError for no passage and for one without text.
    """
    measure = build_quality(quality) if isinstance(quality, str) else quality
    budget.check_keep_ratio(keep_ratio)
    if measure.fits:
        measure = measure.fit(_texts(passages()))
    scores = np.fromiter(measure.scores(_texts(passages())), dtype=np.float32)
    if not len(scores):
        raise ValueError("want at least one passage, got none")
    if not np.isfinite(scores).all():
        number = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"{type(measure).__name__} wants finite scores, got {scores[number]} for passage {number}")
    kept = select.top(torch.from_numpy(scores), budget.n_keep(len(scores), keep_ratio))
    return IndexPruning(kept.numpy(), scores)


def _texts(passages: Iterable[str | HasText]) -> Iterator[str]:
    for number, passage in enumerate(passages):
        yield check_text(
            f"passage {number}", passage if isinstance(passage, str) else getattr(passage, "text", passage)
        )
