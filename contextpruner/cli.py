"""The command line: `contextpruner prune` and `contextpruner methods`."""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from contextpruner import html_view, view
from contextpruner.files import read_files, write_whole
from contextpruner.labeler import Labeler
from contextpruner.policy import Policy
from contextpruner.pruner import LABELERS, ContextPruner
from contextpruner.result import Result
from prunekernels import registry

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


Format = Literal["text", "json", "terminal", "html"]


SUFFIXES: dict[str, Format] = {".html": "html", ".htm": "html", ".json": "json"}


@app.callback()
def main() -> None:
    """Keep the sentences that a question needs, cut verbatim out of documents."""


@app.command()
def prune(
    question: Annotated[str, typer.Option("--question", "-q", help="What the documents should answer.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Text files, .jsonl files of {id, title, text}, or - for standard input."),
    ] = None,
    labeler: Annotated[str, typer.Option(help="A labeler and its fields, say bm25:k1=1.5; see `methods`.")] = "bm25",
    threshold: Annotated[float | None, typer.Option(help="Keep units of at least this probability, in [0, 1].")] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep the k best units over all documents.")] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Keep the best units up to this many tokens (estimated) over all documents."),
    ] = None,
    empty: Annotated[
        Literal["keep_best", "original", "empty"], typer.Option(help="What is kept where nothing passes.")
    ] = "keep_best",
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Default: by the suffix of --output, else terminal on a terminal and text in a pipe.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    details: Annotated[
        bool, typer.Option("--details", help="One line a unit, with probability and reason (terminal).")
    ] = False,
) -> None:
    """Prune FILES, or standard input, for a question. Give one of --threshold, --top-k, --max-tokens."""
    try:
        policy = Policy(threshold=threshold, top_k=top_k, max_tokens=max_tokens, empty=empty)
        paths = files or (["-"] if not sys.stdin.isatty() else [])
        if not paths:
            raise ValueError("want files to prune, or text on standard input")
        documents = read_files(paths, sys.stdin.buffer)
        result = ContextPruner(labeler).prune(question, documents, policy)
        _write(result, format_ or _default_format(output), output, details)
    except BrokenPipeError:
        # whoever read us has seen enough; leave nothing for the interpreter to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, ImportError) as error:
        _fail(error)


@app.command()
def methods() -> None:
    """List the labelers."""
    names = registry.names(LABELERS)
    for name in names:
        labeler = registry.load(LABELERS, name, Labeler)  # type: ignore[type-abstract]
        line = (inspect.getdoc(labeler) or "").partition("\n")[0]
        typer.echo(f"{name:<{max(map(len, names))}}  {line}")


def _default_format(output: Path | None) -> Format:
    if output is not None:
        return SUFFIXES.get(output.suffix.lower(), "text")
    return "terminal" if sys.stdout.isatty() else "text"


def _write(result: Result, format_: Format, output: Path | None, details: bool) -> None:
    if format_ == "terminal" and output is None:
        # asked for by name it is coloured in a pipe too, say before `less -R`
        view.show(result, Console(force_terminal=True, highlight=False), details)
        return
    text = _render(result, format_, details)
    if output is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    else:
        write_whole(output, text)


def _render(result: Result, format_: Format, details: bool) -> str:
    if format_ == "json":
        return json.dumps(result.to_dict(), ensure_ascii=False, indent=1) + "\n"
    if format_ == "html":
        return html_view.page(result)
    if format_ == "terminal":
        page = io.StringIO()
        view.show(result, Console(file=page, force_terminal=True, highlight=False), details)
        return page.getvalue()
    kept = [document.text for document in result.documents if document.text]
    # the texts as they are; one that does not end its last line must not run into the next
    return "".join(text if text.endswith("\n") else text + "\n" for text in kept)


def _fail(error: Exception) -> NoReturn:
    text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    typer.echo(f"contextpruner: {line}", err=True)
    raise typer.Exit(2)
