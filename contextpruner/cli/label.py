"""`contextpruner label`: gold by a language model that answers and cites, where nobody marked sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contextpruner.cli import options
from contextpruner.cli.errors import clear_errors, say_done
from contextpruner.training.examples.cited_labels import Complete, label_by_citing
from contextpruner.training.examples.completers import ChatEndpoint, LocalChat
from contextpruner.training.examples.example import line_of, read_training_examples
from prunekernels.io.outputs import atomic_text, check_file
from prunekernels.io.paths import read_regular

KEY_BYTES = 1 << 12


def label(
    questions: Annotated[str, typer.Argument(help="JSON lines of {question, documents}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON lines with the gold that is cited.")],
    model: Annotated[str, typer.Option("--model", help="A folder or hub id; with --endpoint the name there.")],
    replies: Annotated[
        Path, typer.Option("--replies", help="Where replies are kept: what is there is not asked again.")
    ],
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="An OpenAI-compatible API, up to /v1.")] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="A file with the key of the endpoint.")] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Ask a model to answer each question out of each document and to cite; what it cites is gold."""
    with clear_errors():
        check_file(output, replaces=overwrite, inputs=[questions, replies])
        complete = _complete(model, endpoint, key_file)
        n_labelled = 0
        with atomic_text(output, replaces=overwrite, inputs=[questions, replies]) as file:
            for example in label_by_citing(read_training_examples(questions), complete, replies):
                file.write(line_of(example) + "\n")
                n_labelled += 1
        say_done(output, f"{n_labelled} questions")


def _complete(model: str, endpoint: str | None, key_file: Path | None) -> Complete:
    if endpoint is None:
        if key_file is not None:
            raise ValueError("a key wants an endpoint: --endpoint URL")
        return LocalChat(model)
    key = None if key_file is None else read_regular(key_file, KEY_BYTES).decode().strip()
    return ChatEndpoint(endpoint, model, key)
