"""Questions in units of given sizes, judged by given numbers: what metrics are worked by hand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contextpruner.decisions.calibration import Judged
from contextpruner.documents.document import Document
from contextpruner.training.evaluation.judging import JudgedQuestion
from contextpruner.training.evaluation.questions import Question
from contextpruner.training.examples.example import TrainingExample


@dataclass(frozen=True)
class Toy:
    """Units of ten characters, each a document with a score where there are `scores`; the first of them is gold."""

    probabilities: Sequence[float]
    gold: Sequence[int]
    sizes: Sequence[int] = ()
    tokens: Sequence[int] = ()
    gold_characters: Sequence[int] = ()
    answers: Sequence[Sequence[tuple[int, int]]] = ()
    scores: Sequence[float] = ()
    right: Sequence[int] = ()
    id: str = "1"
    source: str = "a"
    group: str = "g"
    form: str = "seen"
    milliseconds: float = 2.0

    def judged(self) -> JudgedQuestion:
        n = len(self.probabilities)
        example = TrainingExample(
            self.id, "Who?", (Document("x"),), ((),), "en", self.source, self.group, form=self.form
        )
        sizes = np.array(self.sizes or [10] * n)
        gold = np.array(self.gold) > 0
        question = Question(
            example=example,
            documents=(),
            sizes=sizes,
            tokens=np.array(self.tokens or [2] * n),
            gold=gold,
            gold_characters=np.array(self.gold_characters or [5 * one for one in self.gold]),
            has_gold=np.array(self.right) > 0,
            answers=tuple(np.array(places) for places in self.answers),
        )
        values = np.array(self.probabilities, np.float32)
        return JudgedQuestion(
            question, values, np.array(self.scores, np.float32), Judged(values, sizes, gold), self.milliseconds
        )
