"""`contextpruner evaluate`: what labelers keep of what answers, side by side."""

from __future__ import annotations

import dataclasses
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import typer

from contextpruner.cli import options, progress_bar
from contextpruner.cli.errors import clear_errors, say_done
from contextpruner.decisions.token_counter import counter_from, estimate_tokens
from contextpruner.labeler import build_labeler
from contextpruner.models.causal_lm import load_causal_lm
from contextpruner.training.evaluation.evaluation import Evaluation, JudgedLabeler, evaluate_labeler
from contextpruner.training.evaluation.judging import judged_questions
from contextpruner.training.evaluation.page.page import page
from contextpruner.training.evaluation.question_pairs import AskedForm, asked_as
from contextpruner.training.evaluation.questions import Question, cut_questions
from contextpruner.training.evaluation.reader import read_by
from contextpruner.training.evaluation.report import REMOVED, SetReport
from contextpruner.training.examples.example import read_training_examples
from prunekernels.io.escape import one_line
from prunekernels.io.outputs import atomic_text, check_file

# what a reader reads at a time
WINDOW = 4096
NOTE = f"{100 * REMOVED:g} % removed in each set; ~: under one threshold for all; random: deletion of equal length"


def evaluate(
    examples: Annotated[
        str, typer.Argument(help=r"JSON lines of {question, documents, gold, source?}; what `prepare` writes.")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A JSON file of the numbers.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="A page of curves and tables.")] = None,
    labelers: Annotated[
        list[str], typer.Option("--labeler", "-l", help="A labeler's text form; again for more of them.")
    ] = ["bm25", "lead", "random"],  # noqa: B006
    thresholds: Annotated[
        list[float], typer.Option("--threshold", help="One for all questions, say of other ones; for each labeler.")
    ] = [],  # noqa: B006
    forms: Annotated[
        list[AskedForm], typer.Option("--form", help="Ask every question so, too: polite, misspelt or keywords.")
    ] = [],  # noqa: B006
    reader: Annotated[
        str | None, typer.Option("--reader", help="A causal language model that reads what is kept: folder or hub id.")
    ] = None,
    reader_questions: Annotated[int, typer.Option("--reader-questions", min=1, help="How many it reads.")] = 200,
    tokenizer: options.TokenizerPath = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first questions.")] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Recall of gold units where 70 % is removed, and what else tells a good pruner, by source and labeler."""
    with clear_errors():
        for path in (output, html):
            if path is not None:
                check_file(path, replaces=overwrite, inputs=[examples])
        _check(labelers, thresholds)
        questions = _questions(examples, limit, forms, tokenizer)
        judged, found = _judged(labelers, thresholds, questions)
        if reader is not None:
            found += _read(reader, judged, reader_questions)
        if output is not None:
            _write(output, found.to_json(), overwrite, f"{len(found.sets)} rows")
        if html is not None:
            _write(html, page(found, len(judged[0].judged), bool(thresholds)), overwrite, "a page")
        typer.echo("\n".join(_table(found.sets)))
        for row in found.reader:
            at = f"full {row.full:.3f}, pruned {row.pruned:.3f}, random {row.random:.3f}, none {row.none:.3f}"
            typer.echo(f"reader, {one_line(row.questions)}, {row.n} questions: {at}  {one_line(row.labeler)}")


def _check(labelers: list[str], thresholds: list[float]) -> None:
    for number, text in enumerate(labelers):
        build_labeler(text)
        if text in labelers[:number]:
            raise ValueError(f"want every labeler once, got {text} twice")
    if thresholds and len(thresholds) != len(labelers):
        raise ValueError(f"want a threshold for each of {len(labelers)} labelers, got {len(thresholds)}")
    for value in thresholds:
        if not 0 <= value <= 1:
            raise ValueError(f"want a threshold in [0, 1], got {value}")


def _questions(path: str, limit: int | None, forms: list[AskedForm], tokenizer: str | None) -> list[Question]:
    """The questions of a file in units, and behind them each of them in `forms`."""
    count_tokens = counter_from(tokenizer) if tokenizer else estimate_tokens
    read = [*islice(read_training_examples(path), limit)]
    if not read:
        raise ValueError(f"{path} holds no questions")
    again = chain.from_iterable(asked_as(form, read) for form in dict.fromkeys(forms))
    try:
        return cut_questions([*read, *again], count_tokens)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _judged(
    labelers: list[str], thresholds: list[float], questions: list[Question]
) -> tuple[list[JudgedLabeler], Evaluation]:
    found, judged = Evaluation([], [], [], []), []
    for number, text in enumerate(labelers):
        with progress_bar.over_questions(one_line(text, 40), len(questions)) as done:
            said = judged_questions(build_labeler(text), questions, done)
        one, rows = evaluate_labeler(text, said, thresholds[number] if thresholds else None)
        judged.append(one)
        found += rows
    return judged, found


def _read(reader: str, judged: list[JudgedLabeler], most: int) -> Evaluation:
    cuts = {one.name: one.cut for one in judged if one.cut is not None}
    if len(cuts) < len(judged) or not any(one.question.gold.any() for one in judged[0].judged):
        raise ValueError("a reader wants questions with gold, got none")
    model = load_causal_lm(reader, "float32", None, WINDOW)
    with progress_bar.over_batches():
        reports = read_by(model, {one.name: one.judged for one in judged}, cuts, most)
    return Evaluation([], [], [], [], reports)


def _write(path: Path, text: str, overwrite: bool, said: str) -> None:
    with atomic_text(path, replaces=overwrite) as file:
        file.write(text)
    say_done(path, said)


def _table(found: list[SetReport]) -> list[str]:
    """A line for each set and labeler."""
    width = max(len(one_line(row.questions)) for row in found)
    names = list(_values(found[0]))
    lines = [f"{'questions':<{width}}  {'n':>6}  " + "  ".join(f"{name:>8}" for name in names) + "  labeler"]
    for row in sorted(found, key=lambda row: row.questions):
        shown = "  ".join(f"{'-':>8}" if value is None else f"{value:>8.3f}" for value in _values(row).values())
        lines.append(f"{one_line(row.questions):<{width}}  {row.n:>6}  {shown}  {one_line(row.labeler)}")
    return [*lines, NOTE]


def _values(row: SetReport) -> dict[str, float | None]:
    own, under, rank = (
        {} if of is None else dataclasses.asdict(of)
        for of in (row.at_own and row.at_own.kept, row.at_global and row.at_global.kept, row.ranking)
    )
    return {
        "recall": own.get("recall"),
        "random": None if row.at_own is None else row.at_own.random.recall,
        "all_gold": own.get("all_gold"),
        "answers": own.get("retained"),
        "span_f2": own.get("span_f2"),
        "~recall": under.get("recall"),
        "~removed": under.get("removed"),
        "area": row.area,
        "empty": row.empty,
        "first": rank.get("first"),
        "mrr": rank.get("mrr"),
        "ndcg": rank.get("ndcg"),
        "ms": row.milliseconds,
    }
