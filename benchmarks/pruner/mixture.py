"""The weights by which the packaged pruner mixes its model with the lexical labeler: fitted, and what they bring.

    SETS=xquad,selqa,hotpotqa/distractor,qa/en/nq_oracle,qa/en/tydi,qa/en/afriqa,qa/fi,qa/zh/drcd,qa/fa,qa/he,qa/sv,qa/uk/omosqa
    python -m benchmarks.pruner.mixture FOLDER/examples/validation.jsonl --sources $SETS

A logistic regression of gold on the model's logit, its distance to the question's largest one, the lexical logit and a
constant, over the units of the first `--per-source` questions of each source; every source counts the same. Recorded
are the weights, those of either half of the sources, and the mean over sources of the recall at 70 % of the characters
removed: of the model alone, with words by weights of their own, mixed by these weights, and of the lexical labeler. A
row of half of the sources has the recall on the other half.

A second regression says from the best document's score whether a question is answered at all; of sources that have both
kinds, which count the same. Recorded is the share of questions without an answer that are left empty where 2 % of the
others are, and recall as above, without and with this limit to a question's probabilities.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import record
from benchmarks.pruner.quality import PER_SOURCE, first_of_each
from contextpruner.decisions.token_counter import estimate_tokens
from contextpruner.labeler import build_labeler
from contextpruner.labelers.multilingual import MODEL, answer_inputs, limited, mixture_inputs
from contextpruner.training.evaluation.curves import JudgedUnits, recall_curve
from contextpruner.training.evaluation.questions import Question, cut_questions
from contextpruner.training.evaluation.report import LOST, REMOVED
from contextpruner.training.examples.example import read_training_examples


@dataclass(frozen=True)
class Judged:
    """What the weights are put on: of its units `mixture_inputs`, float64 [n, 4], of itself `answer_inputs` [2]."""

    question: Question
    inputs: np.ndarray
    answers: np.ndarray

    @property
    def has_gold(self) -> bool:
        """Whether it is answered."""
        return bool(self.question.gold.any())


Sets = Sequence[Sequence[Judged]]


@dataclass(frozen=True)
class Row:
    """Weights that were fitted on some sources, and recalls; see above."""

    fitted_on: str
    sources: int
    questions: int
    model_weight: float
    distance_weight: float
    lexical_weight: float
    constant: float
    recall_of_model: float
    recall_without_distance: float
    recall_mixed: float
    recall_lexical: float


@dataclass(frozen=True)
class AnswerRow:
    """Weights of whether a question is answered, and the shares of unanswered ones left empty."""

    fitted_on: str
    sources: int
    questions: int
    unanswered: int
    score_weight: float
    constant: float
    left_empty_without: float
    left_empty_with: float
    recall_without: float
    recall_with: float


def main() -> None:
    """Label, fit, record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("examples", type=Path)
    parser.add_argument("--sources", default="", help="beginnings of their names, with commas; by default all")
    parser.add_argument("--per-source", type=int, default=PER_SOURCE)
    options = parser.parse_args()
    beginnings = tuple(options.sources.split(","))
    chosen = (one for one in read_training_examples(options.examples) if one.source.startswith(beginnings))
    sets: dict[str, list[Judged]] = {}
    labelers = [build_labeler(text) for text in (f"provence:model={MODEL},precision=int8", "bm25")]
    for question in cut_questions(first_of_each(chosen, options.per_source), estimate_tokens):
        read, words = (one.score(question.example.question, question.documents) for one in labelers)
        inputs = mixture_inputs(np.concatenate(read.probabilities), np.concatenate(words.probabilities))
        judged = Judged(question, inputs, answer_inputs(read.scores))
        sets.setdefault(question.example.source, []).append(judged)
    halves = _halves([*sets.values()])
    rows = [row(*half) for half in halves]
    weights = fitted(halves[0][1])
    both = [own for own in sets.values() if any(one.has_gold for one in own) and not all(one.has_gold for one in own)]
    answers = [answer_row(*half, weights) for half in _halves(both)]
    print(*rows, *answers, sep="\n")
    if options.sources and options.per_source == PER_SOURCE:
        record("pruner_mixture", rows)
        record("pruner_answers", answers)


def _halves(sets: Sets) -> list[tuple[str, Sets, Sets]]:
    """Names, sets to fit on, and sets to judge by."""
    return [("all", sets, sets), ("every second", sets[::2], sets[1::2]), ("others", sets[1::2], sets[::2])]


def row(name: str, fit: Sets, judged: Sets) -> Row:
    """The weights of the sets `fit`, and what they come to on the sets `judged`."""
    weights, without = fitted(fit), fitted(fit, distance=False)
    every = (np.array([1.0, 0, 0, 0]), without, weights, np.array([0, 0, 1.0, 0]))
    recalls = [float(np.mean([recall(own, one) for own in judged])) for one in every]
    return Row(name, len(fit), sum(map(len, fit)), *weights.tolist(), *recalls)


def fitted(sets: Sets, *, distance: bool = True) -> np.ndarray:
    """The four weights of least cross-entropy, each of `sets` counted the same; without `distance` its weight is 0."""
    inputs = np.concatenate([one.inputs for own in sets for one in own]) * (1, distance, 1, 1)
    gold = np.concatenate([one.question.gold for own in sets for one in own])
    counts = [sum(len(one.inputs) for one in own) for own in sets]
    return _regression(inputs, gold, np.concatenate([np.full(count, 1 / count) for count in counts]))


def answer_row(name: str, fit: Sets, judged: Sets, weights: np.ndarray) -> AnswerRow:
    """Whether questions are answered, learnt on the sets `fit`, and what the limit does on the sets `judged`."""
    questions = [one for own in fit for one in own]
    has_gold = np.array([one.has_gold for one in questions])
    # answered and not count the same in each set
    shares = [np.where(kind, 1 / kind.sum(), 1 / (~kind).sum()) for kind in map(_kinds, fit)]
    own = _regression(np.stack([one.answers for one in questions]), has_gold, np.concatenate(shares))
    limits = (None, own)
    empty = [float(np.mean([_empty(one, weights, limit) for one in judged])) for limit in limits]
    recalls = [float(np.mean([recall(one, weights, limit) for one in judged])) for limit in limits]
    return AnswerRow(name, len(fit), len(questions), int((~has_gold).sum()), *own.tolist(), *empty, *recalls)


def _kinds(judged: Sequence[Judged]) -> np.ndarray:
    return np.array([one.has_gold for one in judged])


def _empty(judged: Sequence[Judged], weights: np.ndarray, limit: np.ndarray | None) -> float:
    """The share of unanswered questions whose best unit is below that of 2 % of the answered ones."""
    best = np.array([_said(one, weights, limit).max(initial=-np.inf) for one in judged])
    is_answered = _kinds(judged)
    return float((best[~is_answered] < np.quantile(best[is_answered], LOST)).mean())


def _regression(inputs: np.ndarray, labels: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Logistic: the weights of least cross-entropy, each row counted by its `share`."""
    values, wanted, counted = (torch.from_numpy(np.asarray(one, np.float64)) for one in (inputs, labels, share))
    weights = torch.eye(inputs.shape[1], dtype=torch.float64)[0].requires_grad_()
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
        found = cross_entropy(values @ weights, wanted, counted / counted.sum(), reduction="sum")
        found.backward()
        return found

    optimizer.step(loss)
    return weights.detach().numpy()


def recall(judged: Sequence[Judged], weights: np.ndarray, limit: np.ndarray | None = None) -> float:
    """Of the units that answer, where one threshold removes `REMOVED` of the characters of questions with an answer."""
    units = [
        JudgedUnits(_said(one, weights, limit), one.question.sizes, one.question.gold) for one in judged if one.has_gold
    ]
    curve = recall_curve(units)
    return float(np.interp(REMOVED, curve.removed[::-1], curve.recall[::-1]))


def _said(judged: Judged, weights: np.ndarray, limit: np.ndarray | None) -> np.ndarray:
    values = judged.inputs @ weights
    return values if limit is None else limited(values, float(judged.answers @ limit))


if __name__ == "__main__":
    main()
