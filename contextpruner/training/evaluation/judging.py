"""A labeler on questions with gold: what it says of every unit, and how it orders the documents."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from contextpruner.decisions.calibration import gold_units
from contextpruner.documents.document import read_documents
from contextpruner.labeler import Labeler
from contextpruner.training.evaluation.curves import JudgedUnits
from contextpruner.training.examples.example import TrainingExample
from contextpruner.units.split import SplitDocument, split_format


@dataclass(frozen=True, eq=False)
class JudgedQuestion:
    """`units` of all documents of a question; `scores` float32 and `has_gold` bool [documents]; what labelling took."""

    source: str
    language: str
    form: str
    units: JudgedUnits
    scores: np.ndarray
    has_gold: np.ndarray
    milliseconds: float

    @property
    def best(self) -> float:
        """The probability of its best unit; 0 without units."""
        return float(self.units.probabilities.max(initial=0))

    @property
    def first_rank(self) -> int | None:
        """At which place, from 1, the first document with gold stands; ties count against it. None without gold."""
        if not self.has_gold.any() or len(self.scores) < 2:
            return None
        best = self.scores[self.has_gold].max()
        return 1 + int((self.scores[~self.has_gold] >= best).sum())


def judged_questions(labeler: Labeler, examples: Iterable[TrainingExample]) -> list[JudgedQuestion]:
    """What `labeler` says of `examples`, one at a time."""
    labeler.prepare()
    return [_judged(labeler, example) for example in examples]


def _judged(labeler: Labeler, example: TrainingExample) -> JudgedQuestion:
    documents = read_documents(example.documents)
    cut = [SplitDocument(one, tuple(split_format(one.text, one.format))) for one in documents]
    gold = [gold_units(document, spans) for document, spans in zip(cut, example.gold, strict=True)]
    started = time.perf_counter()
    labels = labeler.score(example.question, cut)
    took = 1000 * (time.perf_counter() - started)
    sizes = np.array([unit.end - unit.start for document in cut for unit in document.units], np.int64)
    units = JudgedUnits(np.concatenate(labels.probabilities), sizes, np.concatenate(gold))
    has_gold = np.array([own.any() for own in gold])
    return JudgedQuestion(example.source, example.language, example.form, units, labels.scores, has_gold, took)
