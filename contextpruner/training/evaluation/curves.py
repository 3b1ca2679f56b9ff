"""Recall against compression under one threshold for all questions, and the numbers that are read off that curve.

    recall(T)    mean over questions of the share of a question's gold units that reach T
    removed(T)   mean over sources of the share of a source's characters that do not, of all its questions together
    area         integral of recall over removed, from 0 to 1: 1 is out of reach, for gold takes room

What is removed is counted over a source's questions together, as one threshold spends it: a long document has more
room than a short one, and what a reader pays for is characters. Sources count the same, however long their documents.
Questions without gold count for `removed` alone. Equal numbers stay together: they are kept together or not at all. A
labeler of few numbers (`lead` has 1, 1/2, 1/3, ... for the units of every document) has few points therefore, perhaps
none between keeping nothing and removing 60 %. So labelers are compared on the straight line between two neighbouring
points, as the area is: at the higher threshold, and for a share of the questions at the lower one (`Cut`), so that
exactly the wanted part of the characters is removed in the mean. That is what a pruner would keep that drew one of the
two for each question, and no number is better or worse for falling short of the wanted length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class JudgedUnits:
    """A question's units: what a labeler says of them, float [n], their characters, int [n], and if gold, bool [n]."""

    probabilities: np.ndarray
    sizes: np.ndarray
    gold: np.ndarray
    source: str = ""


@dataclass(frozen=True)
class Cut:
    """A question's units are kept that reach `threshold`; for a `share` of the questions it is the lower `below`.

    A threshold of None keeps nothing.
    """

    threshold: float | None
    below: float | None = None
    share: float = 0.0

    def choices(self, probabilities: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Which of the units [n] are kept, bool [n], at each of the thresholds, with the share of questions there."""
        both = [(1 - self.share, self.threshold), (self.share, self.below)]
        nothing = np.zeros(len(probabilities), bool)
        return [(share, nothing if at is None else probabilities >= at) for share, at in both if share]


@dataclass(frozen=True, eq=False)
class RecallCurve:
    """Points of descending `thresholds` [m]: `removed`, `recall` and `all_gold`, questions that keep all theirs."""

    thresholds: np.ndarray
    removed: np.ndarray
    recall: np.ndarray
    all_gold: np.ndarray

    @property
    def area(self) -> float:
        """The area under recall over removed; from nothing kept, where recall is 0, to everything."""
        removed, recall = np.append(1.0, self.removed), np.append(0.0, self.recall)
        return float((-np.diff(removed) * (recall[1:] + recall[:-1]) / 2).sum())

    def at_removed(self, share: float) -> int | None:
        """The point with the lowest threshold that removes at least `share`; None where there is none."""
        fitting = np.flatnonzero(self.removed >= share - 1e-9)
        return int(fitting[-1]) if len(fitting) else None

    def cut(self, share: float) -> Cut:
        """What removes `share` of the characters in the mean, between two points where there is no such point."""
        at = self.at_removed(share)
        threshold, removed = (None, 1.0) if at is None else (float(self.thresholds[at]), float(self.removed[at]))
        lower = 0 if at is None else at + 1
        if lower == len(self.thresholds) or removed - share < 1e-9:
            return Cut(threshold)
        step = removed - float(self.removed[lower])
        return Cut(threshold, float(self.thresholds[lower]), (removed - share) / step)

    def thinned(self, most: int) -> RecallCurve:
        """At most `most` of the points, spread over what is removed, the ends among them."""
        if len(self.thresholds) <= most:
            return self
        wanted = np.linspace(self.removed[0], self.removed[-1], most)
        at = np.unique(np.searchsorted(-self.removed, -wanted).clip(0, len(self.removed) - 1))
        return RecallCurve(self.thresholds[at], self.removed[at], self.recall[at], self.all_gold[at])


def recall_curve(questions: Sequence[JudgedUnits]) -> RecallCurve:
    """The curve of `questions`; raises ValueError where none of them has gold."""
    with_gold = [one for one in questions if one.gold.any()]
    if not with_gold:
        raise ValueError(f"want a question with a gold unit, got {len(questions)} without")
    flat = np.concatenate([one.probabilities for one in questions])
    weights = size_weights([(one.source, int(one.sizes.sum())) for one in questions])
    kept = np.concatenate([one.sizes * weight for one, weight in zip(questions, weights, strict=True)])
    gold = np.concatenate([one.gold / max(one.gold.sum(), 1) / len(with_gold) for one in questions])
    order = np.argsort(-flat, kind="stable")
    is_last = np.append(np.diff(flat[order]) != 0, True)
    thresholds = flat[order][is_last]
    weakest = np.sort([one.probabilities[one.gold].min() for one in with_gold])
    all_gold = 1 - np.searchsorted(weakest, thresholds, side="left") / len(with_gold)
    removed, recall = 1 - np.cumsum(kept[order])[is_last], np.cumsum(gold[order])[is_last]
    return RecallCurve(thresholds, removed.clip(0, 1), recall.clip(0, 1), all_gold)


def size_weights(questions: Sequence[tuple[str, int]]) -> np.ndarray:
    """What a character, or token, of each question counts, float64 [questions], by its source and how many it has.

    All together count 1; a source without any has no part in it.
    """
    totals: Counter[str] = Counter()
    for source, size in questions:
        totals[source] += size
    n_sources = max(sum(total > 0 for total in totals.values()), 1)
    return np.array([1 / max(totals[source], 1) / n_sources for source, _ in questions])
