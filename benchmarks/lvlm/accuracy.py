"""How many held-out questions are answered right, by kind of picture and of question, and how many without looking.

An answer is right where greedy decoding gives it whole, end included: that is where each of its tokens is the likeliest
after the ones before. Blind is the best that can be said of a question's words alone: the answer that training
pictures have most often.

    python -m benchmarks.lvlm.accuracy benchmarks/lvlm/default.yaml --split test
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.harness import record
from benchmarks.lvlm import pool
from benchmarks.lvlm.learner import Learner, new_learner
from benchmarks.lvlm.packing import Example, Seen, pack
from benchmarks.lvlm.questions import MAIN_KINDS, READING_KINDS, Question
from benchmarks.lvlm.recipe import Recipe, TrainingSettings
from benchmarks.lvlm.scene import KINDS
from benchmarks.lvlm.state import load_learner

BATCH = 15


@dataclasses.dataclass(frozen=True)
class Row:
    """Of `asked` questions of a kind about pictures of a kind, the shares that are right."""

    pictures: str
    question: str
    asked: int
    right: float
    blind: float


def main() -> None:
    """Read the state of a run, ask, print and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    recipe = Recipe.read(options.recipe)
    learner = new_learner(recipe)
    load_learner(recipe.run / "state", learner)
    rows = table(learner.eval(), recipe, options.split)
    for row in rows:
        print(row)
    if not options.no_record:
        record("lvlm_accuracy", rows)


def table(learner: Learner, recipe: Recipe, split: str) -> list[Row]:
    """A row for each kind of picture and question, and for all that a kind of picture is there for ("all")."""
    guess = blind([one.questions for grid in pool.load(recipe, "train") for one in grid.examples])
    rows = []
    for pictures in KINDS:
        found: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
        for grid in pool.load(recipe, split, pictures):
            for one, told in zip(grid.examples, right(learner, grid.examples, recipe.training), strict=True):
                for question, is_right in zip(one.questions, told, strict=True):
                    pair = (is_right, guess.get(question.text) == question.answer)
                    found[question.kind].append(pair)
                    if question.kind in (READING_KINDS if pictures == "reading" else MAIN_KINDS):
                        found["all"].append(pair)
        for kind, pairs in sorted(found.items()):
            sums = [sum(own) / len(pairs) for own in zip(*pairs, strict=True)]
            rows.append(Row(pictures, kind, len(pairs), *sums))
    return rows


def accuracies(learner: Learner, grids: Sequence[pool.Grid], settings: TrainingSettings) -> dict[str, float]:
    """The share of right answers by kind of question, all pictures together."""
    found: dict[str, list[bool]] = defaultdict(list)
    for grid in grids:
        for one, told in zip(grid.examples, right(learner, grid.examples, settings), strict=True):
            for question, is_right in zip(one.questions, told, strict=True):
                found[question.kind].append(is_right)
    return {kind: round(sum(own) / len(own), 4) for kind, own in sorted(found.items())}


@torch.no_grad()
def right(learner: Learner, examples: Sequence[Example], settings: TrainingSettings) -> list[list[bool]]:
    """Of each picture which questions are answered right, all patches seen."""
    was_training = learner.training
    learner.eval()
    found: list[list[bool]] = []
    for first in range(0, len(examples), BATCH):
        own = examples[first : first + BATCH]
        batch = pack(own, [Seen(torch.arange(len(one.features))) for one in own])
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
            said = learner(batch)
        hits, numbers = said.logits.argmax(-1) == said.targets, batch.question[said.rows, said.places]
        for row, one in enumerate(own):
            found.append(whole_answers(hits[said.rows == row], numbers[said.rows == row], len(one.questions)))
    learner.train(was_training)
    return found


def whole_answers(hits: torch.Tensor, numbers: torch.Tensor, n: int) -> list[bool]:
    """Of `n` questions, numbered from 1 on, those of which every token is one of `hits`."""
    return [bool(hits[numbers == number].all()) for number in range(1, n + 1)]


def blind(asked: Sequence[Sequence[Question]]) -> dict[str, str]:
    """The most frequent answer to each question."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for own in asked:
        for question in own:
            seen[question.text][question.answer] += 1
    return {text: answers.most_common(1)[0][0] for text, answers in seen.items()}


if __name__ == "__main__":
    main()
