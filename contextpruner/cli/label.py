"""`contextpruner label`: gold for questions of which nobody marked the sentences that answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from contextpruner.cli import options
from contextpruner.cli.errors import clear_errors, say_done
from contextpruner.models.causal_lm import load_causal_lm
from contextpruner.training.examples.cited_labels import Complete, label_by_citing
from contextpruner.training.examples.completers import ChatEndpoint, LocalChat
from contextpruner.training.examples.example import TrainingExample, line_of, read_training_examples
from contextpruner.training.examples.weak_labels import inclusion, label_by, leave_one_out, overlap
from prunekernels.io.outputs import atomic_text, check_file
from prunekernels.io.paths import read_regular

KEY_BYTES, WINDOW = 1 << 12, 2048
By = Literal["citing", "inclusion", "overlap", "leave_one_out"]


def label(
    questions: Annotated[str, typer.Argument(help="JSON lines of {question, documents}, by what asks: answer, too.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON lines with the gold that is found.")],
    by: Annotated[
        By,
        typer.Option(
            "--by",
            help="citing: a model answers and cites. Where answers are known: units that hold the answer, that overlap "
            "with it, or that its likelihood hangs on under a model.",
        ),
    ] = "citing",
    model: Annotated[
        str | None, typer.Option("--model", help="A folder or hub id; with --endpoint the name there.")
    ] = None,
    replies: Annotated[
        Path | None, typer.Option("--replies", help="Where replies are kept: what is there is not asked again.")
    ] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="An OpenAI-compatible API, up to /v1.")] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="A file with the key of the endpoint.")] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Find the sentences that answer each question, by a model or by the answer that is known."""
    with clear_errors():
        inputs: list[str | Path] = [questions, *([] if replies is None else [replies])]
        check_file(output, replaces=overwrite, inputs=inputs)
        read = read_training_examples(questions)
        if by == "citing":
            found = _cited(read, model, replies, (endpoint, key_file))
        else:
            if replies is not None or endpoint is not None:
                raise ValueError(f"--replies and --endpoint are for --by citing, got --by {by}")
            found = _weak(read, by, model)
        n_labelled = 0
        with atomic_text(output, replaces=overwrite, inputs=inputs) as file:
            for example in found:
                file.write(line_of(example) + "\n")
                n_labelled += 1
        say_done(output, f"{n_labelled} questions")


def _cited(
    read: Iterable[TrainingExample], model: str | None, replies: Path | None, where: tuple[str | None, Path | None]
) -> Iterable[TrainingExample]:
    if model is None or replies is None:
        raise ValueError("--by citing wants --model and --replies")
    return label_by_citing(read, _complete(model, *where), replies)


def _weak(read: Iterable[TrainingExample], by: By, model: str | None) -> Iterable[TrainingExample]:
    if (model is None) == (by == "leave_one_out"):
        raise ValueError("--by leave_one_out wants --model, and no other but citing does")
    if by == "inclusion":
        return label_by(lambda units, _, answer: inclusion(units, [answer]), read)
    if by == "overlap":
        return label_by(overlap, read)
    loaded = load_causal_lm(model or "", "float32", None, WINDOW)

    def hangs_on(units: Sequence[str], question: str, answer: str) -> np.ndarray:
        return leave_one_out(loaded, question, answer, units)[0]

    return label_by(hangs_on, read)


def _complete(model: str, endpoint: str | None, key_file: Path | None) -> Complete:
    if endpoint is None:
        if key_file is not None:
            raise ValueError("a key wants an endpoint: --endpoint URL")
        return LocalChat(model)
    key = None if key_file is None else read_regular(key_file, KEY_BYTES).decode().strip()
    return ChatEndpoint(endpoint, model, key)
