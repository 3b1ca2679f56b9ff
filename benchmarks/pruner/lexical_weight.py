"""How much the packaged pruner should listen to BM25: weights by logistic regression, and what they give; recorded.

    python -m benchmarks.pruner.lexical_weight FOLDER/examples/validation.jsonl
    ... --per-source 20                                 a first look; nothing is recorded

    units       ln(k / (1 - k)) = a ln(p / (1 - p)) + b q + c      p of the model, q of bm25, k whether the unit is gold
    documents   ln(k / (1 - k)) = a ln(s / (1 - s)) + b t + c      s and t the scores, k whether there is a gold unit

Fitted on half of the documents and measured on the other half: recall where one threshold removes 70 % of the
characters, and the share of questions with the right document first. Printed are the weights of all questions, which
`contextpruner/labelers/multilingual.py` holds, and the threshold with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import record
from benchmarks.pruner.quality import first_of_each
from contextpruner.decisions.token_counter import estimate_tokens
from contextpruner.labeler import build_labeler
from contextpruner.labelers.multilingual import Weights, mixed
from contextpruner.training.evaluation.coverage import split_by_group
from contextpruner.training.evaluation.curves import JudgedUnits, recall_curve
from contextpruner.training.evaluation.judging import JudgedQuestion, judged_questions
from contextpruner.training.evaluation.questions import cut_questions
from contextpruner.training.evaluation.report import REMOVED
from contextpruner.training.examples.example import read_training_examples

PER_SOURCE = 60
Pair = tuple[JudgedQuestion, JudgedQuestion]


@dataclass(frozen=True)
class Row:
    """What one of them, or both, find on the half that was not fitted on."""

    labeler: str
    n: int
    recall: float
    all_gold: float
    area: float
    right_first: float


def main() -> None:
    """Label, fit, measure, record."""
    parser = argparse.ArgumentParser(description="The packaged pruner with BM25.")
    parser.add_argument("examples", type=Path)
    parser.add_argument("--per-source", type=int, default=PER_SOURCE)
    options = parser.parse_args()
    chosen = [*first_of_each(read_training_examples(options.examples), options.per_source)]
    questions = cut_questions(chosen, estimate_tokens)
    said = [
        judged_questions(build_labeler(text), questions, lambda: None)
        for text in ("multilingual:lexical=false", "bm25")
    ]
    pairs = [*zip(*said, strict=True)]
    groups = [{id(one.question) for one in half} for half in split_by_group(said[0])]
    halves = [[pair for pair in pairs if id(pair[0].question) in own] for own in groups]
    rows = measured(halves[1], *fitted(halves[0]))
    units, documents = fitted(pairs)
    print("units", units, "documents", documents)
    numbers = [JudgedUnits(mixed(a.probabilities, b.probabilities, units), a.question.sizes, a.question.gold) for a, b in pairs if a.question.gold.any()]  # fmt: skip # noqa: E501
    print("threshold", recall_curve(numbers).cut(REMOVED))
    print(*rows, sep="\n")
    if options.per_source == PER_SOURCE:
        record("pruner_lexical_weight", rows)


def fitted(pairs: Sequence[Pair]) -> tuple[Weights, Weights]:
    """Of units and of documents; of these the questions that have several."""
    units = [(a.probabilities, b.probabilities, a.question.gold) for a, b in pairs]
    documents = [(a.scores, b.scores, a.question.has_gold) for a, b in pairs if len(a.scores) > 1]
    return _regression(units), _regression(documents)


def measured(pairs: Sequence[Pair], units: Weights, documents: Weights) -> list[Row]:
    """A row for the model, one for BM25, and one for both."""
    only = {"model": Weights(1, 0, 0), "bm25": Weights(0, 1, 0)}
    ways = {name: (own, own) for name, own in only.items()} | {"both": (units, documents)}
    rows = []
    for name, (of_units, of_documents) in ways.items():
        numbers = [
            JudgedUnits(mixed(a.probabilities, b.probabilities, of_units), a.question.sizes, a.question.gold)
            for a, b in pairs
            if a.question.gold.any()
        ]
        curve = recall_curve(numbers)
        cut = curve.at_removed(REMOVED)
        ranked = [(mixed(a.scores, b.scores, of_documents), a.question.has_gold) for a, b in pairs]
        first = [values[gold].max() > values[~gold].max() for values, gold in ranked if gold.any() and not gold.all()]
        at = [float(column[cut]) if cut is not None else 0.0 for column in (curve.recall, curve.all_gold)]
        rows.append(Row(name, len(numbers), *at, curve.area, float(np.mean(first))))
    return rows


def _regression(rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Weights:
    """Logistic regression by L-BFGS, every unit or document counting once."""
    own, other, gold = (torch.from_numpy(np.concatenate(column)).double() for column in zip(*rows, strict=True))
    columns = torch.stack([torch.logit(own, 1e-4), other, torch.ones_like(own)], 1)
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = torch.nn.functional.binary_cross_entropy_with_logits(columns @ weights, gold)
        found.backward()
        return found

    optimizer.step(loss)
    return Weights(*(round(weight, 3) for weight in weights.tolist()))


if __name__ == "__main__":
    main()
