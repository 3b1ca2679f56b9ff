"""`contextpruner calibrate`: thresholds that keep a wanted recall, and what each of them costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from contextpruner.cli import options, progress_bar
from contextpruner.cli.errors import clear_errors, say_done
from contextpruner.decisions.calibration import OTHER, Calibration, calibration_file, is_calibration
from contextpruner.decisions.closure import closure_of
from contextpruner.documents.files import read_lines
from contextpruner.documents.questions import read_examples, read_questions
from contextpruner.pruner import ContextPruner
from prunekernels.io.outputs import check_file

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def calibrate(
    examples: Annotated[
        str,
        typer.Argument(help=r"JSON lines of {question, documents, gold}; gold has \[\[start, end], ...] a document."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A JSON file to write, or the folder of a model that it goes with.")
    ],
    labeler: options.DefaultLabelerText = None,
    splitter: options.SplitterText = "rules",
    closure: options.Closure = "all",
    overwrite: options.Overwrite = False,
) -> None:
    """Find for every recall the threshold that keeps it, from questions whose answers are known.

    Says of some targets what is kept there; one that keeps nearly everything is refused.
    """
    with clear_errors():
        kinds = closure_of(closure)
        # before the work, and again when it is written
        check_file(calibration_file(output), replaces=overwrite or is_calibration, inputs=[examples])
        with progress_bar.over_lines([examples]) as watched:
            asked = read_questions(watched(read_lines(examples, sys.stdin.buffer)))
            made = ContextPruner(labeler, splitter=splitter).calibrate(read_examples(asked), kinds)
        if not made.highest_recall:
            raise ValueError(f"no threshold drops what answers nothing: want {OTHER}")
        made.save(output, overwrite=overwrite)
        say_done(output, f"{made.n_questions} questions, a recall of up to {made.highest_recall:.3f} can be promised")
        typer.echo("\n".join(_table(made)), err=str(output) == "-")


def _table(made: Calibration) -> list[str]:
    """A line for each target: what is kept there, or why it is refused."""
    lines = ["target  threshold  recall    kept  all gold"]
    for target in TARGETS:
        try:
            at = made.promise(target)
        except ValueError as error:
            lines.append(f"{target:<6}  {error}")
            continue
        shares = f"{100 * at.recall:>4.1f} %  {100 * at.kept:>4.1f} %  {100 * at.coverage:>6.1f} %"
        lines.append(f"{target:<6}  {at.threshold:>9.4g}  {shares}")
    return lines
