"""The command line: `contextpruner prune | calibrate | quality | export | methods`."""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from contextpruner import progress as progress_bar
from contextpruner.decisions.calibration import Calibration
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.decisions.policy import Policy
from contextpruner.decisions.token_counter import counter_from, estimate_tokens
from contextpruner.documents.document import Document
from contextpruner.documents.files import (
    Lines,
    document_from_json,
    parse_line,
    read_files,
    read_lines,
    replace_text,
    replacing_text,
)
from contextpruner.documents.questions import QuestionLine, read_examples, read_questions
from contextpruner.labeler import LABELERS, Labeler
from contextpruner.models.onnx_export import export_onnx
from contextpruner.models.provence_checkpoint import load_provence
from contextpruner.pruner import ContextPruner
from contextpruner.quality import QUALITIES, Quality, build_quality, prune_index
from contextpruner.results.html_page import html_page
from contextpruner.results.result import Result
from contextpruner.results.terminal_view import print_result
from contextpruner.units.sentence_splitter import SPLITTERS, SentenceSplitter
from prunekernels import registry

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


Format = Literal["text", "json", "terminal", "html"]


SUFFIXES: dict[str, Format] = {".html": "html", ".htm": "html", ".json": "json"}


@app.callback()
def main() -> None:
    """Keep the sentences that a question needs, cut verbatim out of documents."""


Files = Annotated[
    list[str] | None,
    typer.Argument(
        help="Text, Markdown, HTML and code files, .jsonl files of {id, title, text, format}, folders of them, "
        "or - for standard input."
    ),
]
LabelerText = Annotated[str, typer.Option(help="A labeler and its fields, say bm25:k1=1.5; see `methods`.")]
SplitterText = Annotated[str, typer.Option(help="What finds sentences, say nltk:language=german; see `methods`.")]


@app.command()
def prune(
    files: Files = None,
    question: Annotated[str | None, typer.Option("--question", "-q", help="What the documents should answer.")] = None,
    questions: Annotated[
        str | None,
        typer.Option(help="Many questions: JSON lines of {question, documents}; a line of JSON for each comes out."),
    ] = None,
    labeler: LabelerText = "bm25",
    splitter: SplitterText = "rules",
    threshold: Annotated[float | None, typer.Option(help="Keep units of at least this probability, in [0, 1].")] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep the k best units over all documents.")] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Keep the best units up to this many tokens over all documents."),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Whose tokens: a tokenizer.json or its folder; else they are estimated.")
    ] = None,
    target_recall: Annotated[
        float | None, typer.Option(help="Keep this share of what answers, by the threshold of --calibration.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="File that `calibrate` wrote; by default the one in the model's folder.")
    ] = None,
    closure: Annotated[
        str,
        typer.Option(metavar="KINDS", help="What is kept with a unit that leans on it; comma-separated, or none."),
    ] = ",".join(DEPENDENCIES),
    empty: Annotated[
        Literal["keep_best", "original", "empty"],
        typer.Option(metavar="RULE", help="What is kept where nothing passes: keep_best, original or empty."),
    ] = "keep_best",
    empty_per: Annotated[
        Literal["question", "document"],
        typer.Option(metavar="UNIT", help="Nothing of the whole question, or of a document: question or document."),
    ] = "question",
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="text, json, html or terminal. Default: by the suffix of --output, else terminal on a terminal and "
            "text in a pipe.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    details: Annotated[
        bool, typer.Option("--details", help="One line a unit, with probability and reason (terminal).")
    ] = False,
) -> None:
    """Prune FILES, or standard input, for a question.

    By one of --threshold, --top-k, --max-tokens, --target-recall; without one by the labeler's own threshold.
    """
    with _clear_errors():
        kinds = () if closure == "none" else tuple(part.strip() for part in closure.split(","))
        rule = {"threshold": threshold, "top_k": top_k, "max_tokens": max_tokens, "target_recall": target_recall}
        policy = Policy(**rule, closure=kinds, empty=empty, empty_per=empty_per)  # type: ignore[arg-type]
        known = None if calibration is None else Calibration.load(calibration)
        count = estimate_tokens if tokenizer is None else counter_from(tokenizer)
        pruner = ContextPruner(labeler, splitter=splitter, count_tokens=count, calibration=known)
        if (question is None) == (questions is None):
            raise ValueError("want one of --question and --questions")
        if questions is not None:
            if format_ or details:
                raise ValueError("--format and --details are for one --question; many come out as lines of JSON")
            _prune_many(pruner, questions, files or [], policy, output)
            return
        paths = files or (["-"] if not sys.stdin.isatty() else [])
        if not paths:
            raise ValueError("want files to prune, or text on standard input")
        documents = _read(paths)
        with progress_bar.over_batches():
            result = pruner.prune(question or "", documents, policy)
        _write(result, format_ or _default_format(output), output, details)


@app.command()
def calibrate(
    examples: Annotated[
        str,
        typer.Argument(help=r"JSON lines of {question, documents, gold}; gold has \[\[start, end], ...] a document."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A JSON file to write, or the folder of a model that it goes with.")
    ],
    labeler: LabelerText = "bm25",
    splitter: SplitterText = "rules",
) -> None:
    """Find for every recall the threshold that keeps it, from questions whose answers are known."""
    with _clear_errors(), progress_bar.over_lines([examples]) as watched:
        asked = read_questions(watched(read_lines(examples, sys.stdin.buffer)))
        made = ContextPruner(labeler, splitter=splitter).calibrate(read_examples(asked))
        made.save(output)
    with _clear_errors():
        most = made.n_questions / (made.n_questions + 1)
        typer.echo(f"{output}: {made.n_questions} questions, a recall of up to {most:.3f} can be promised")


@app.command()
def quality(
    passages: Annotated[list[str], typer.Argument(help="The index: .jsonl files of {id, title, text}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The lines that stay, as they stood.")],
    measure: Annotated[
        str, typer.Option(help="A measure and its fields, say perplexity:model=FOLDER; see `methods`.")
    ] = "divergence",
    keep_ratio: Annotated[float, typer.Option(help="Fraction of the passages that is kept, in (0, 1].")] = 0.75,
) -> None:
    """Prune an index before anything is asked: keep the passages of the best quality."""
    with _clear_errors():
        if "-" in passages:
            raise ValueError("the index is read more than once: want files, got standard input")
        built = build_quality(measure)
        with progress_bar.over_lines(passages, passes=3 if built.fits else 2) as watched:

            def lines() -> Lines:
                return watched(line for path in passages for line in read_lines(path, sys.stdin.buffer))

            found = prune_index(
                lambda: (document_from_json(place, parse_line(place, line)) for place, line in lines()),
                built,
                keep_ratio,
            )
            kept = set(found.kept.tolist())
            with replacing_text(output) as file:
                for number, (_, line) in enumerate(lines()):
                    if number in kept:
                        file.write(line.decode("utf-8-sig") + "\n")
        typer.echo(f"{output}: {len(kept):,} of {len(found.scores):,} passages kept")


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A folder or hub id that the labeler provence reads.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; made if need be.")],
) -> None:
    """Write a pruner as one ONNX file with its tokenizer; --labeler provence:model=FOLDER runs it on a CPU."""
    with _clear_errors():
        typer.echo(f"{export_onnx(load_provence(model), output)}: exported")


@app.command()
def methods() -> None:
    """List the labelers, the splitters and the measures of quality."""
    _show_methods("--labeler", LABELERS, Labeler)
    typer.echo()
    _show_methods("--splitter", SPLITTERS, SentenceSplitter)
    typer.echo()
    _show_methods("--measure", QUALITIES, Quality)


def _show_methods(option: str, folder: str, kind: type) -> None:
    names = registry.names(folder)
    typer.echo(f"{option}:")
    for name in names:
        line = (inspect.getdoc(registry.load(folder, name, kind)) or "").partition("\n")[0]
        typer.echo(f"  {name:<{max(map(len, names))}}  {line}")


def _prune_many(pruner: ContextPruner, questions: str, files: list[str], policy: Policy, output: Path | None) -> None:
    if questions == "-" and "-" in files:
        raise ValueError('standard input can be read only once, got "-" twice')
    shared = _read(files) if files else []
    with ExitStack() as stack:
        file = None if output is None else stack.enter_context(replacing_text(output))
        watched = stack.enter_context(progress_bar.over_lines([questions]))
        asked = read_questions(watched(read_lines(questions, sys.stdin.buffer)), shared)
        for line in _answers(pruner, asked, policy):
            if file is None:
                sys.stdout.buffer.write(line.encode())
            else:
                file.write(line)
        sys.stdout.buffer.flush()


def _answers(pruner: ContextPruner, asked: Iterator[QuestionLine], policy: Policy) -> Iterator[str]:
    """One line of JSON for each question."""
    for item in asked:
        try:
            result = pruner.prune(item.question, item.documents, policy)
        except ValueError as error:
            raise ValueError(f"{item.place}: {error}") from error
        given = {"given": item.others} if item.others else {}
        yield json.dumps(result.to_dict() | given, ensure_ascii=False) + "\n"


def _read(paths: list[str]) -> list[Document]:
    """The documents of `paths`; what is passed over is named on standard error."""
    documents, no_text = read_files(paths, sys.stdin.buffer)
    if no_text:
        others = f" and {len(no_text) - 3} more" if len(no_text) > 3 else ""
        typer.echo(f"contextpruner: passed over, as no UTF-8 text: {', '.join(no_text[:3])}{others}", err=True)
    return documents


@contextmanager
def _clear_errors() -> Iterator[None]:
    """What a user can mend is one line on standard error and exit code 2."""
    try:
        yield
    except BrokenPipeError:
        # whoever read us has seen enough; leave nothing for the interpreter to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, ImportError) as error:
        _fail(error)
    except KeyboardInterrupt:
        typer.echo("contextpruner: stopped; a file that was to be written is as it was", err=True)
        raise typer.Exit(130) from None


def _default_format(output: Path | None) -> Format:
    if output is not None:
        return SUFFIXES.get(output.suffix.lower(), "text")
    return "terminal" if sys.stdout.isatty() else "text"


def _write(result: Result, format_: Format, output: Path | None, details: bool) -> None:
    if format_ == "terminal" and output is None:
        # asked for by name it is coloured in a pipe too, say before `less -R`
        print_result(result, Console(force_terminal=True, highlight=False), details)
        return
    text = _render(result, format_, details)
    if output is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    else:
        replace_text(output, text)


def _render(result: Result, format_: Format, details: bool) -> str:
    if format_ == "json":
        return json.dumps(result.to_dict(), ensure_ascii=False, indent=1) + "\n"
    if format_ == "html":
        return html_page(result)
    if format_ == "terminal":
        page = io.StringIO()
        print_result(result, Console(file=page, force_terminal=True, highlight=False), details)
        return page.getvalue()
    kept = [document.text for document in result.documents if document.text]
    # the texts as they are; one that does not end its last line must not run into the next
    return "".join(text if text.endswith("\n") else text + "\n" for text in kept)


def _fail(error: Exception) -> NoReturn:
    text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    typer.echo(f"contextpruner: {line}", err=True)
    raise typer.Exit(2)
