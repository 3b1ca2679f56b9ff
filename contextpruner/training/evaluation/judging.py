"""A labeler on questions with gold: what it says of every unit, how it orders the documents, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from contextpruner.decisions.calibration import Judged, judge
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.labeler import Labeler
from contextpruner.training.evaluation.curves import JudgedUnits
from contextpruner.training.evaluation.questions import Question


@dataclass(frozen=True, eq=False)
class JudgedQuestion:
    """`probabilities` of all units, float32 [n], and `scores` float32 [documents]; what labelling took.

    `closed` is what a calibration judges by: the units with what is kept along with them.
    """

    question: Question
    probabilities: np.ndarray
    scores: np.ndarray
    closed: Judged
    milliseconds: float

    @property
    def units(self) -> JudgedUnits:
        own = self.question
        return JudgedUnits(self.probabilities, own.sizes, own.gold, own.example.source)

    @property
    def best(self) -> float:
        """The probability of its best unit; 0 without units."""
        return float(self.probabilities.max(initial=0))


def judged_questions(labeler: Labeler, questions: Sequence[Question], done: Callable[[], None]) -> list[JudgedQuestion]:
    """What `labeler` says of `questions`, one at a time; `done` is called behind each."""
    labeler.prepare()
    for question in questions[:1]:
        # what is done at the first call alone is not timed
        labeler.score(question.example.question, question.documents)
    return [*_judged(labeler, questions, done)]


def _judged(labeler: Labeler, questions: Sequence[Question], done: Callable[[], None]) -> Iterator[JudgedQuestion]:
    for question in questions:
        started = time.perf_counter()
        labels = labeler.score(question.example.question, question.documents)
        took = 1000 * (time.perf_counter() - started)
        closed = judge(question.documents, labels.probabilities, question.gold, DEPENDENCIES)
        yield JudgedQuestion(question, np.concatenate(labels.probabilities), labels.scores, closed, took)
        done()
