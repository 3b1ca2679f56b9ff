"""The contract of labelers: a question and split documents in, a number for every unit and document out.

A labeler writes only `label`. `score` is what callers use: it checks the shape and range of what comes back,
so that a broken labeler stops here and not as a wrong choice later. Higher means more worth keeping, always.
Markup between the blocks of a page is shown to no labeler and has probability 0.

A heading, a question or a lead-in is no answer: what a labeler says of it goes to what it introduces (`units.unit`),
where it is more than that has by itself, and it has probability 0; so have headers and fences, which hand on nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from contextpruner.documents.cache import Encoded
from contextpruner.units.split import SplitDocument
from prunekernels import spec

LABELERS = "contextpruner.labelers"


class Fallback(NamedTuple):
    """Which labeler answered in another's place, in its text form, and why."""

    labeler: str
    reason: str


@dataclass(frozen=True, eq=False)
class Labels:
    """What a labeler says.

    `probabilities` has one float32 array [units] in [0, 1] for each document; `scores` is finite float32
    [documents] and orders the documents. `vectors`, where a labeler has them, are float32 [units, d] of each document:
    units of like meaning have a cosine near 1. `fallback` is there where another labeler answered.
    """

    probabilities: tuple[np.ndarray, ...]
    scores: np.ndarray
    vectors: tuple[np.ndarray, ...] | None = None
    fallback: Fallback | None = None

    def of_documents(self, places: Sequence[int]) -> Labels:
        """The labels of the documents at `places`, in that order."""
        vectors = None if self.vectors is None else tuple(self.vectors[place] for place in places)
        probabilities = tuple(self.probabilities[place] for place in places)
        return replace(self, probabilities=probabilities, scores=self.scores[[*places]], vectors=vectors)

    @classmethod
    def best_unit(cls, probabilities: Sequence[np.ndarray], vectors: tuple[np.ndarray, ...] | None = None) -> Labels:
        """Labels in which a document is worth as much as its best unit, and 0 if it has none."""
        scores = [float(values.max(initial=0)) for values in probabilities]
        return cls(tuple(probabilities), np.array(scores, dtype=np.float32), vectors)

    @classmethod
    def of_all_units(cls, values: np.ndarray, documents: Sequence[SplitDocument]) -> Labels:
        """The same, from one array over the units of all `documents` [units of all]."""
        ends = np.cumsum([len(document.units) for document in documents], dtype=np.int64).tolist()
        starts = [0, *ends]
        return cls.best_unit([values[start:end] for start, end in zip(starts, ends, strict=False)])


class Labeler(ABC):
    """Base of all labelers: frozen dataclasses with a default for every field."""

    # whether a unit's probability may change with the other documents of the call
    depends_on_batch: ClassVar[bool] = False

    # whether 0.8 means that 80 of 100 such units are relevant; otherwise the numbers only order units
    is_calibrated: ClassVar[bool] = False

    # whether a document's score is judged by itself; otherwise it is its best unit's, and 0 without units
    ranks_documents: ClassVar[bool] = False

    @property
    def default_threshold(self) -> float | None:
        """What a unit's probability should reach where no rule is given; None where a labeler knows of none."""
        return None

    def prepare(self) -> None:  # noqa: B027
        """Load what the labeler needs, once; called before the first `score`, so that it is timed apart."""

    def score(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        """Label every unit of `documents`; raises ValueError where the labeler breaks its contract."""
        seen = [document.seen for document in documents]
        return self._finished(self.label(question, seen), documents, seen)

    def score_encoded(
        self, questions: Sequence[str], documents: Sequence[SplitDocument], encoded: Sequence[Encoded]
    ) -> list[Labels]:
        """As `score` for each of `questions`, out of what `encode` gave for each of `documents`."""
        seen = [document.seen for document in documents]
        return [self._finished(labels, documents, seen) for labels in self.label_encoded(questions, seen, encoded)]

    def _finished(self, labels: Labels, documents: Sequence[SplitDocument], seen: Sequence[SplitDocument]) -> Labels:
        """`labels` of what is seen, checked, as those of all units."""
        _check(type(self).__name__, labels, seen)
        handed = [_handed_on(document, values) for document, values in zip(seen, labels.probabilities, strict=True)]
        # a document that is worth as much as its best unit is so still
        before, after = (Labels.best_unit(values).scores for values in (labels.probabilities, handed))
        scores = np.where(labels.scores == before, after, labels.scores)
        pairs = zip(documents, handed, strict=True)
        vectors = labels.vectors
        if vectors is not None:
            vectors = tuple(_with_markup(document, own) for document, own in zip(documents, vectors, strict=True))
        probabilities = tuple(_with_markup(document, values) for document, values in pairs)
        return replace(labels, probabilities=probabilities, scores=scores, vectors=vectors)

    @abstractmethod
    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        """The labeler's own rule; its docstring says what the numbers mean."""

    def encode(self, documents: Sequence[SplitDocument]) -> list[Encoded] | None:
        """What the labeler knows of each document whatever is asked, None where it reads both together.

        It hangs on nothing but the document, and only on what of it is `seen`.
        """
        return None

    def label_encoded(
        self, questions: Sequence[str], documents: Sequence[SplitDocument], encoded: Sequence[Encoded]
    ) -> list[Labels]:
        """As `label` for each of `questions`, out of what `encode` gave: equal but for rounding in a model."""
        raise NotImplementedError


def build_labeler(text: str) -> Labeler:
    """The labeler that `text` describes, say "bm25" or "bm25:k1=1.5"."""
    return spec.build(LABELERS, text, Labeler)  # type: ignore[type-abstract]


def above(threshold: float) -> float:
    """The next float32 above `threshold`: a policy keeps what reaches it, a published ">" what exceeds it."""
    return min(float(np.nextafter(np.float32(threshold), np.float32(2))), 1.0)


def _with_markup(document: SplitDocument, values: np.ndarray) -> np.ndarray:
    """`values` of the units that are seen, and 0 for the others."""
    every = np.zeros((len(document.units), *values.shape[1:]), dtype=np.float32)
    every[[unit.kind != "markup" for unit in document.units]] = values
    return every


def _handed_on(document: SplitDocument, values: np.ndarray) -> np.ndarray:
    """`values`, of which those of units that introduce others are given to these."""
    handed = values.copy()
    for number, unit in enumerate(document.units):
        if unit.introduces is not None:
            inside = slice(*unit.introduces)
            if values[number] > values[inside].max():
                handed[inside] = np.maximum(handed[inside], values[number])
    handed[[not unit.competes for unit in document.units]] = 0
    return handed


def _check(name: str, labels: Labels, documents: Sequence[SplitDocument]) -> None:
    wanted = [len(document.units) for document in documents]
    if (got := [len(values) for values in labels.probabilities]) != wanted:
        raise ValueError(f"{name}: want a probability for each unit, {wanted}, got {got}")
    for index, values in enumerate(labels.probabilities):
        if values.dtype != np.float32 or values.ndim != 1:
            raise ValueError(f"{name}: want float32 [units], got {values.dtype} {[*values.shape]}")
        # NaN fails this comparison too
        bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
        if len(bad):
            raise ValueError(f"{name}: unit {bad[0]} of document {index} wants [0, 1], got {values[bad[0]]}")
    if labels.vectors is not None and [len(own) for own in labels.vectors] != wanted:
        raise ValueError(f"{name}: want a vector for each unit, {wanted}, got {[len(own) for own in labels.vectors]}")
    scores = labels.scores
    if scores.dtype != np.float32 or scores.shape != (len(wanted),) or not np.isfinite(scores).all():
        raise ValueError(f"{name}: want finite float32 scores [{len(wanted)}], got {scores!r}")
