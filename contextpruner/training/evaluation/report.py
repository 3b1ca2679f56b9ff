"""The numbers of a labeler on sets of questions: each source, all of them, and those asked blind apart.

at_own         what is kept (`kept`) where the threshold is the set's own, the one that removes 70 % of its characters
at_global      the same under one threshold for all sets: the one that removes 70 % of the characters of all questions
               together, or one that was given, say because it was chosen on other questions
area           under recall over removed characters (`curves`)
empty          of the questions without gold, the share left empty where 2 % of the others are
ranking        of the questions with several documents (`ranking`)
milliseconds   of labelling a question, the median; and of 1,000 characters, and tokens, of all together

Removed characters are those of questions with gold: one without would make room for the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from contextpruner.training.evaluation.curves import Cut, RecallCurve, recall_curve
from contextpruner.training.evaluation.judging import JudgedQuestion
from contextpruner.training.evaluation.kept import Kept, kept_at
from contextpruner.training.evaluation.ranking import Ranking, ranking

REMOVED, LOST = 0.7, 0.02
Kind = Literal["source", "asked", "all"]


@dataclass(frozen=True)
class AtCut:
    """What a labeler keeps at a cut, and what random deletion of equal length does."""

    cut: Cut
    kept: Kept
    random: Kept


@dataclass(frozen=True)
class SetReport:
    """One labeler on one set; None where the set has no question of the kind."""

    labeler: str
    kind: Kind
    questions: str
    n: int
    n_without_gold: int
    at_own: AtCut | None
    at_global: AtCut | None
    area: float | None
    empty: float | None
    ranking: Ranking | None
    milliseconds: float
    milliseconds_of_1000_characters: float
    milliseconds_of_1000_tokens: float


@dataclass(frozen=True, eq=False)
class QuestionSet:
    """Some of a labeler's questions under a name."""

    kind: Kind
    name: str
    judged: Sequence[JudgedQuestion]

    @property
    def with_gold(self) -> list[JudgedQuestion]:
        return [one for one in self.judged if one.question.gold.any()]

    @property
    def curve(self) -> RecallCurve | None:
        """None where no question has gold."""
        return recall_curve([one.units for one in self.with_gold]) if self.with_gold else None


def sets_of(judged: Sequence[JudgedQuestion]) -> list[QuestionSet]:
    """All questions where there are several sources, those asked blind and seen where there are both, each source."""
    sources: dict[str, list[JudgedQuestion]] = defaultdict(list)
    for one in judged:
        sources[one.question.example.source].append(one)
    found = [QuestionSet("all", "all", judged)] if len(sources) > 1 else []
    asked = {name: [one for one in judged if one.question.is_blind == (name == "blind")] for name in ("seen", "blind")}
    if all(asked.values()):
        found += [QuestionSet("asked", f"asked {name}", own) for name, own in asked.items()]
    return found + [QuestionSet("source", name, own) for name, own in sorted(sources.items())]


def report(labeler: str, of: QuestionSet, overall: Cut | None) -> SetReport:
    """The numbers of a set, which is not empty; `overall` is the threshold for all sets, where one was found."""
    without = [one for one in of.judged if not one.question.gold.any()]
    curve = of.curve
    own = None if curve is None else curve.cut(REMOVED)
    at_own = None if own is None else at_cut(of, own)
    # of all questions it is the same
    at_global = at_own if own is None or overall == own else None if overall is None else at_cut(of, overall)
    took = sum(one.milliseconds for one in of.judged)
    sizes, tokens = (sum(int(getattr(one.question, name).sum()) for one in of.judged) for name in ("sizes", "tokens"))
    return SetReport(
        labeler=labeler,
        kind=of.kind,
        questions=of.name,
        n=len(of.judged),
        n_without_gold=len(without),
        at_own=at_own,
        at_global=at_global,
        area=None if curve is None else curve.area,
        empty=_left_empty(of.with_gold, without),
        ranking=ranking(of.judged),
        milliseconds=float(np.median([one.milliseconds for one in of.judged])),
        milliseconds_of_1000_characters=1000 * took / max(sizes, 1),
        milliseconds_of_1000_tokens=1000 * took / max(tokens, 1),
    )


def at_cut(of: QuestionSet, cut: Cut) -> AtCut:
    """What is kept of the set's questions with gold, of which there are some."""
    return AtCut(cut, *kept_at(of.with_gold, cut))


def _left_empty(with_gold: Sequence[JudgedQuestion], without: Sequence[JudgedQuestion]) -> float | None:
    if not with_gold or not without:
        return None
    bar = np.sort([one.best for one in with_gold])[int(LOST * len(with_gold) + 1e-9)]
    return float(np.mean([one.best < bar for one in without]))
