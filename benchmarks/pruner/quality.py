"""The packaged pruner beside labelers that need no training, on validation questions that it never saw; recorded.

    contextpruner prepare benchmarks/pruner/default.yaml --sources FOLDER    writes examples/validation.jsonl
    python -m benchmarks.pruner.quality FOLDER/examples/validation.jsonl --model MINILM --reader SMOLLM2
    ... --per-source 20                                                      a first look; nothing is recorded

`--model` is a sentence-transformers model for `bi_encoder` and `late_interaction`, `--reader` a causal language model.
Every labeler gets the same questions, at most `--per-source` of a source. `oracle` keeps what is gold and nothing else:
more is out of reach, where gold is more than 30 % of the characters. A cell has a number for each labeler in the
order of the first row's names: recall of gold units and share of questions that keep all of theirs where a threshold
removes 70 % of a set's characters; recall where one threshold does so over all sets together; the share of questions
with the right document first; and of those without an answer the share left empty where 2 % of the others are.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import record
from contextpruner.decisions.calibration import judge
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.decisions.token_counter import estimate_tokens
from contextpruner.labeler import build_labeler
from contextpruner.models.causal_lm import load_causal_lm
from contextpruner.training.evaluation.coverage import Coverage
from contextpruner.training.evaluation.evaluation import Evaluation, JudgedLabeler, evaluate_labeler
from contextpruner.training.evaluation.judging import JudgedQuestion, judged_questions
from contextpruner.training.evaluation.question_pairs import AskedForm, FormReport, asked_as
from contextpruner.training.evaluation.questions import Question, cut_questions
from contextpruner.training.evaluation.reader import read_by
from contextpruner.training.evaluation.report import SetReport
from contextpruner.training.examples.example import TrainingExample, read_training_examples

PER_SOURCE, READ, WINDOW = 100, 24, 2048
# of a source no further question is taken from so many characters on: a meeting has 60,000
CHARACTERS = 300_000
# sets of fewer questions are printed, and say too little to be recorded
TELLING = 80
# of so many questions one is asked politely, too
POLITE = 8
LABELERS = ("multilingual", "bm25", "lead", "random")
OF_MODEL = ("bi_encoder", "late_interaction")
Cell = dict[str, float | None]


@dataclass(frozen=True)
class SetRow:
    """A set of questions; every cell by labeler."""

    questions: str
    n: int
    recall: Cell
    all_gold: Cell
    recall_at_one_threshold: Cell
    right_first: Cell
    left_empty: Cell


@dataclass(frozen=True)
class CoverageRow:
    """The packaged pruner's recall where a target was promised, with its 95 % interval, and what is kept."""

    questions: str
    target: float
    n: int
    recall: float
    low: float
    high: float
    kept: float


@dataclass(frozen=True)
class FormRow:
    """Recall of questions in another form and of the same ones as they are, under one threshold, with its interval."""

    labeler: str
    form: str
    n: int
    plain: float
    in_form: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class ReaderRow:
    """Mean log-likelihood of an answer's tokens by what the reader gets, and pruned against full with its interval."""

    labeler: str
    n: int
    full: float
    pruned: float
    random: float
    none: float
    pruned_minus_full: float
    low: float
    high: float


def main() -> None:
    """Label, judge, read, record."""
    options = _options()
    chosen = [*first_of_each(read_training_examples(options.examples), options.per_source)]
    questions = cut_questions([*chosen, *asked_as(AskedForm.POLITE, chosen[::POLITE])], estimate_tokens)
    names = {name: name for name in LABELERS}
    names |= {name: f"{name}:model={options.model}" for name in OF_MODEL if options.model}
    found, judged = Evaluation([], [], [], []), []
    for name, text in names.items():
        said = judged_questions(build_labeler(text), questions, lambda: None)
        one, rows = evaluate_labeler(name, said, None)
        judged.append(one)
        found += rows
        print(name, "done", flush=True)
    found.sets.extend(evaluate_labeler("oracle", [_oracle(question) for question in questions], None)[1].sets)
    tables: dict[str, Sequence[object]] = {
        "pruner_quality": _sets(found.sets, [*names, "oracle"]),
        "pruner_coverage": _coverage(found.coverage),
        "pruner_forms": [*map(_form, found.forms)],
    }
    if options.reader:
        tables["pruner_reader"] = _read(options.reader, judged[:2])
    for name, table in tables.items():
        print(name, *table, sep="\n")
        if options.per_source == PER_SOURCE:
            record(name, [row for row in table if name == "pruner_reader" or row.n >= TELLING])  # type: ignore[attr-defined]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The packaged pruner beside others.")
    parser.add_argument("examples", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--reader")
    parser.add_argument("--per-source", type=int, default=PER_SOURCE)
    return parser.parse_args()


def first_of_each(examples: Iterable[TrainingExample], most: int) -> Iterable[TrainingExample]:
    """The first questions of each source: at most `most`, and none behind `CHARACTERS`."""
    seen: Counter[str] = Counter()
    read: Counter[str] = Counter()
    for example in examples:
        if seen[example.source] < most and read[example.source] < CHARACTERS:
            seen[example.source] += 1
            read[example.source] += sum(len(document.text) for document in example.documents)
            yield example


def _oracle(question: Question) -> JudgedQuestion:
    """As if a labeler knew the answer."""
    gold, ends = question.gold.astype(np.float32), np.cumsum([len(one.units) for one in question.documents])[:-1]
    closed = judge(question.documents, np.split(gold, ends), question.gold, DEPENDENCIES)
    return JudgedQuestion(question, gold, question.has_gold.astype(np.float32), closed, 0.0)


def _sets(rows: Sequence[SetReport], names: Sequence[str]) -> list[SetRow]:
    found = []
    for questions in dict.fromkeys(row.questions for row in rows):
        own = {row.labeler: row for row in rows if row.questions == questions}
        at_own = {name: own[name].at_own for name in names}
        at_global = {name: own[name].at_global for name in names}
        ranked = {name: own[name].ranking for name in names}
        found.append(
            SetRow(
                questions,
                own[names[0]].n,
                {name: at.kept.recall if at else None for name, at in at_own.items()},
                {name: at.kept.all_gold if at else None for name, at in at_own.items()},
                {name: at.kept.recall if at else None for name, at in at_global.items()},
                {name: rank.first if rank else None for name, rank in ranked.items()},
                {name: own[name].empty for name in names},
            )
        )
    return found


def _coverage(rows: Sequence[Coverage]) -> list[CoverageRow]:
    found = []
    for row in rows:
        numbers = [number for number in (row.recall, row.low, row.high, row.kept) if number is not None]
        # a target that is refused has none of them
        if row.labeler == LABELERS[0] and len(numbers) == 4:
            found.append(CoverageRow(row.questions, row.target, row.n_measured, *numbers))
    return found


def _form(row: FormReport) -> FormRow:
    return FormRow(row.labeler, row.form, row.n, row.plain, row.recall, row.difference, row.low, row.high)


def _read(reader: str, judged: Sequence[JudgedLabeler]) -> list[ReaderRow]:
    model = load_causal_lm(reader, "float32", None, WINDOW)
    cuts = {one.name: one.cut for one in judged if one.cut is not None}
    reports = read_by(model, {one.name: one.judged for one in judged}, cuts, READ)
    return [
        ReaderRow(
            row.labeler,
            row.n,
            row.full,
            row.pruned,
            row.random,
            row.none,
            row.pruned_to_full.mean,
            row.pruned_to_full.low,
            row.pruned_to_full.high,
        )
        for row in reports
        if row.questions == "all"
    ]


if __name__ == "__main__":
    main()
