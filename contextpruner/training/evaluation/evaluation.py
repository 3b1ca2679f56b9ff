"""All that `contextpruner evaluate` finds: a labeler's numbers, curves and coverage by set, and what forms cost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from contextpruner.training.evaluation.coverage import Coverage, coverage
from contextpruner.training.evaluation.curves import Cut
from contextpruner.training.evaluation.judging import JudgedQuestion
from contextpruner.training.evaluation.question_pairs import FormReport, form_report, paired
from contextpruner.training.evaluation.reader import ReaderReport
from contextpruner.training.evaluation.report import REMOVED, QuestionSet, SetReport, report, sets_of

# points of a curve that are stored at most
MOST = 101


@dataclass(frozen=True)
class CurvePoints:
    """A thinned curve of a labeler on a set, by descending threshold."""

    labeler: str
    questions: str
    thresholds: list[float]
    removed: list[float]
    recall: list[float]
    all_gold: list[float]


@dataclass(frozen=True)
class Evaluation:
    """Rows of every labeler, set and kind; `reader` is empty where none read."""

    sets: list[SetReport]
    curves: list[CurvePoints]
    coverage: list[Coverage]
    forms: list[FormReport]
    reader: list[ReaderReport] = dataclasses.field(default_factory=list)

    def __add__(self, other: Evaluation) -> Evaluation:
        """The rows of both."""
        names = [field.name for field in dataclasses.fields(self)]
        return Evaluation(*(getattr(self, name) + getattr(other, name) for name in names))

    def to_json(self) -> str:
        """All rows as JSON, numbers with six digits behind the point."""
        return json.dumps(_rounded({"removed": REMOVED, **dataclasses.asdict(self)}), indent=1) + "\n"


@dataclass(frozen=True, eq=False)
class JudgedLabeler:
    """A labeler's questions but those that only ask another again in another form, and its threshold for all sets."""

    name: str
    judged: Sequence[JudgedQuestion]
    cut: Cut | None


def evaluate_labeler(
    name: str, judged: Sequence[JudgedQuestion], threshold: float | None
) -> tuple[JudgedLabeler, Evaluation]:
    """The numbers of `judged`, which is not empty, under `threshold` or the one that removes `REMOVED` of it all."""
    pairs = paired(judged)
    again = {id(asked) for own in pairs.values() for _, asked in own}
    plain = [one for one in judged if id(one) not in again]
    curve = QuestionSet("all", "all", plain).curve
    cut = Cut(threshold) if threshold is not None else None if curve is None else curve.cut(REMOVED)
    sets = sets_of(plain)
    forms = [] if cut is None else [form_report(name, form, own, cut) for form, own in pairs.items()]
    found = Evaluation(
        sets=[report(name, of, cut) for of in sets],
        curves=[points for of in sets if (points := _points(name, of)) is not None],
        coverage=[row for of in sets for row in coverage(name, of.name, of.judged)],
        forms=[row for row in forms if row is not None],
    )
    return JudgedLabeler(name, plain, cut), found


def _points(labeler: str, of: QuestionSet) -> CurvePoints | None:
    if (curve := of.curve) is None:
        return None
    thin = curve.thinned(MOST)
    columns = (thin.thresholds, thin.removed, thin.recall, thin.all_gold)
    return CurvePoints(labeler, of.name, *([float(value) for value in column] for column in columns))


def _rounded(value: object) -> object:
    """`value` of JSON with its numbers rounded."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value
