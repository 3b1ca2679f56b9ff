"""The numbers of a labeler on a set of questions, under one threshold for all of them.

recall, all_gold     at the lowest threshold that removes 70 % of the characters in the mean over questions
area                 under recall over removed characters (`curves`)
empty                of the questions without gold, the share left empty where 2 % of the others are
first                of the questions with several documents, the share with a right one first; mrr over these
milliseconds         of labelling a question
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contextpruner.training.evaluation.curves import recall_curve
from contextpruner.training.evaluation.judging import JudgedQuestion

REMOVED, LOST = 0.7, 0.02


@dataclass(frozen=True)
class SetReport:
    """One labeler on one set; None where the set has no question of the kind."""

    labeler: str
    questions: str
    n: int
    n_without_gold: int
    recall: float | None
    all_gold: float | None
    area: float | None
    threshold: float | None
    empty: float | None
    first: float | None
    mrr: float | None
    milliseconds: float


def report(labeler: str, name: str, judged: Sequence[JudgedQuestion]) -> SetReport:
    """The numbers of `judged`, which are not empty."""
    with_gold = [one for one in judged if one.units.gold.any()]
    without = [one for one in judged if not one.units.gold.any()]
    recall = all_gold = area = threshold = empty = None
    if with_gold:
        curve = recall_curve([one.units for one in with_gold])
        area, at = curve.area, curve.at_removed(REMOVED)
        # where even the best units are more than that, nothing is kept
        recall = all_gold = 0.0
        if at is not None:
            recall, all_gold = float(curve.recall[at]), float(curve.all_gold[at])
            threshold = float(curve.thresholds[at])
    if with_gold and without:
        bar = np.sort([one.best for one in with_gold])[int(LOST * len(with_gold) + 1e-9)]
        empty = float(np.mean([one.best < bar for one in without]))
    ranks = [one.first_rank for one in judged if one.first_rank is not None]
    return SetReport(
        labeler=labeler,
        questions=name,
        n=len(judged),
        n_without_gold=len(without),
        recall=recall,
        all_gold=all_gold,
        area=area,
        threshold=threshold,
        empty=empty,
        first=float(np.mean([rank == 1 for rank in ranks])) if ranks else None,
        mrr=float(np.mean([1 / rank for rank in ranks])) if ranks else None,
        milliseconds=float(np.mean([one.milliseconds for one in judged])),
    )


def by_source(labeler: str, judged: Sequence[JudgedQuestion]) -> list[SetReport]:
    """A report of each source, and of all questions under one threshold where there are several sources."""
    sets: dict[str, list[JudgedQuestion]] = defaultdict(list)
    for one in judged:
        sets[one.source].append(one)
    found = [report(labeler, name, own) for name, own in sorted(sets.items())]
    return found + ([report(labeler, "all", judged)] if len(sets) > 1 else [])
