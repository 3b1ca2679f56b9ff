"""The weights by which the packaged pruner mixes its model with the lexical labeler: fitted, and what they bring.

    SETS=xquad,selqa,hotpotqa/distractor,qa/en/nq_oracle,qa/en/tydi,qa/en/afriqa,qa/fi,qa/zh/drcd,qa/fa,qa/he
    python -m benchmarks.pruner.mixture FOLDER/examples/validation.jsonl --sources $SETS

A logistic regression of gold on the model's logit, its distance to the question's largest one, the lexical logit and a
constant, over the units of the first `--per-source` questions of each source; every source counts the same. Recorded
are the weights, those of either half of the sources, and the mean over sources of the recall at 70 % of the characters
removed: of the model alone, with words by weights of their own, mixed by these weights, and of the lexical labeler. A
row of half of the sources has the recall on the other half.
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
from contextpruner.labelers.multilingual import MODEL, mixture_inputs
from contextpruner.training.evaluation.curves import JudgedUnits, recall_curve
from contextpruner.training.evaluation.questions import Question, cut_questions
from contextpruner.training.evaluation.report import REMOVED
from contextpruner.training.examples.example import read_training_examples


@dataclass(frozen=True)
class Judged:
    """A question's units, and what the weights are put on: `mixture_inputs`, float64 [n, 4]."""

    question: Question
    inputs: np.ndarray


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
        said = [one.score(question.example.question, question.documents).probabilities for one in labelers]
        inputs = mixture_inputs(*map(np.concatenate, said))
        sets.setdefault(question.example.source, []).append(Judged(question, inputs))
    every = [*sets.values()]
    rows = [
        row("all", every, every),
        row("every second", every[::2], every[1::2]),
        row("others", every[1::2], every[::2]),
    ]
    print(*rows, sep="\n")
    if options.sources and options.per_source == PER_SOURCE:
        record("pruner_mixture", rows)


def row(name: str, fit: Sequence[Sequence[Judged]], judged: Sequence[Sequence[Judged]]) -> Row:
    """The weights of the sets `fit`, and what they come to on the sets `judged`."""
    weights, without = fitted(fit), fitted(fit, distance=False)
    every = (np.array([1.0, 0, 0, 0]), without, weights, np.array([0, 0, 1.0, 0]))
    recalls = [float(np.mean([recall(own, one) for own in judged])) for one in every]
    return Row(name, len(fit), sum(map(len, fit)), *weights.tolist(), *recalls)


def fitted(sets: Sequence[Sequence[Judged]], *, distance: bool = True) -> np.ndarray:
    """The four weights of least cross-entropy, each of `sets` counted the same; without `distance` its weight is 0."""
    inputs = torch.from_numpy(np.concatenate([one.inputs for own in sets for one in own]))
    gold = torch.from_numpy(np.concatenate([one.question.gold for own in sets for one in own]).astype(float))
    counts = [sum(len(one.inputs) for one in own) for own in sets]
    share = torch.from_numpy(np.concatenate([np.full(count, 1 / count / len(sets)) for count in counts]))
    inputs[:, 1] *= distance
    weights = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ weights, gold, share, reduction="sum")
        found.backward()
        return found

    optimizer.step(loss)
    return weights.detach().numpy()


def recall(judged: Sequence[Judged], weights: np.ndarray) -> float:
    """Of the units that answer, where one threshold removes `REMOVED` of the characters."""
    units = [
        JudgedUnits(one.inputs @ weights, one.question.sizes, one.question.gold) for one in judged if len(one.inputs)
    ]
    curve = recall_curve(units)
    return float(np.interp(REMOVED, curve.removed[::-1], curve.recall[::-1]))


if __name__ == "__main__":
    main()
