"""How a labeler orders the documents of a question, where there are several and one of them is right.

    first   share of questions with a right document first
    mrr     mean of 1 / place of the first right one
    ndcg    mean of  sum over right ones among the first 10 of 1 / log2(1 + place)  over the largest such sum

Documents of equal score stand in the order that is worst for the labeler: the wrong ones first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contextpruner.training.evaluation.judging import JudgedQuestion

DEPTH = 10


@dataclass(frozen=True)
class Ranking:
    """Means over `n` questions."""

    n: int
    first: float
    mrr: float
    ndcg: float


def ranking(judged: Sequence[JudgedQuestion]) -> Ranking | None:
    """The ranking of `judged`; None where no question has several documents and a right one."""
    places = [_places(one.scores, one.question.has_gold) for one in judged if len(one.scores) > 1]
    places = [own for own in places if len(own)]
    if not places:
        return None
    firsts = np.array([own[0] for own in places])
    return Ranking(
        len(places), float((firsts == 1).mean()), float((1 / firsts).mean()), float(np.mean([*map(_ndcg, places)]))
    )


def _places(scores: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """The places of the right documents, from 1, ascending."""
    order = np.lexsort((is_right, -scores))
    return 1 + np.flatnonzero(is_right[order])


def _ndcg(places: np.ndarray) -> float:
    best = np.arange(1, min(len(places), DEPTH) + 1)
    return float((1 / np.log2(1 + places[places <= DEPTH])).sum() / (1 / np.log2(1 + best)).sum())
