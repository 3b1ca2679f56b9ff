"""`contextpruner evaluate`: what labelers keep of what answers, side by side."""

from __future__ import annotations

import dataclasses
import json
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from contextpruner.cli import options
from contextpruner.cli.errors import clear_errors, say_done
from contextpruner.labeler import build_labeler
from contextpruner.training.evaluation.judging import judged_questions
from contextpruner.training.evaluation.report import SetReport, by_source
from contextpruner.training.examples.example import read_training_examples
from prunekernels.io.escape import one_line
from prunekernels.io.outputs import atomic_text, check_file

COLUMNS = ("recall", "all_gold", "area", "empty", "first", "mrr", "milliseconds")


def evaluate(
    examples: Annotated[
        str, typer.Argument(help=r"JSON lines of {question, documents, gold, source?}; what `prepare` writes.")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A JSON file of the numbers.")] = None,
    labelers: Annotated[
        list[str], typer.Option("--labeler", "-l", help="A labeler's text form; again for more of them.")
    ] = ["bm25", "lead", "random"],  # noqa: B006
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first questions.")] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Recall of gold units under one threshold at 70 % removed, and the curve's area, by source and labeler."""
    with clear_errors():
        if output is not None:
            check_file(output, replaces=overwrite, inputs=[examples])
        found: list[SetReport] = []
        for text in labelers:
            asked = islice(read_training_examples(examples), limit)
            found += by_source(text, judged_questions(build_labeler(text), asked))
        if not found:
            raise ValueError(f"{examples} holds no questions")
        if output is not None:
            with atomic_text(output, replaces=overwrite) as file:
                file.write(json.dumps([dataclasses.asdict(row) for row in found], indent=1) + "\n")
            say_done(output, f"{len(found)} rows")
        typer.echo("\n".join(_table(found)))


def _table(found: list[SetReport]) -> list[str]:
    width = max(len(row.questions) for row in found)
    lines = [f"{'questions':<{width}}  {'n':>6}  " + "  ".join(f"{name:>8.8}" for name in COLUMNS) + "  labeler"]
    for row in sorted(found, key=lambda row: row.questions):
        values = [getattr(row, name) for name in COLUMNS]
        shown = "  ".join(f"{'-':>8}" if value is None else f"{value:>8.3f}" for value in values)
        lines.append(f"{one_line(row.questions):<{width}}  {row.n:>6}  {shown}  {one_line(row.labeler)}")
    return lines
