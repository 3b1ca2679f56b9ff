"""`contextpruner prune`: files or questions in, kept texts out, in a form for a pipe, a terminal or a browser.

Of many questions one result a line comes out, in their order, each written when it is found; a file is whole or absent.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import typer
from rich.console import Console

from contextpruner.cli import options, progress_bar
from contextpruner.cli.errors import clear_errors
from contextpruner.decisions.calibration import Calibration
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.decisions.rules import Policy
from contextpruner.decisions.token_counter import counter_from, estimate_tokens
from contextpruner.documents.cache import DocumentCache
from contextpruner.documents.document import Document
from contextpruner.documents.files import read_files, read_lines, replace_text, replacing_text
from contextpruner.documents.questions import QuestionLine, read_questions
from contextpruner.pruner import ContextPruner
from contextpruner.results.html_page import html_page
from contextpruner.results.result import Result
from contextpruner.results.terminal_view import print_result

SUFFIXES: dict[str, options.Format] = {".html": "html", ".htm": "html", ".json": "json"}


def prune(
    files: options.Files = None,
    question: options.Question = None,
    questions: options.Questions = None,
    labeler: options.LabelerText = "bm25",
    splitter: options.SplitterText = "rules",
    threshold: options.Threshold = None,
    top_k: options.TopK = None,
    max_tokens: options.MaxTokens = None,
    tokenizer: options.TokenizerPath = None,
    target_recall: options.TargetRecall = None,
    calibration: options.CalibrationFile = None,
    share_of_best: options.ShareOfBest = None,
    top_documents: options.TopDocuments = None,
    reorder: options.Reorder = False,
    min_document_units: options.MinDocumentUnits = None,
    max_document_units: options.MaxDocumentUnits = None,
    min_document_tokens: options.MinDocumentTokens = None,
    max_document_tokens: options.MaxDocumentTokens = None,
    before: options.Before = 0,
    behind: options.Behind = 0,
    protect: options.Protect = None,
    redundancy: options.Redundancy = None,
    mmr: options.Mmr = None,
    cache: options.CacheFolder = None,
    closure: options.Closure = "all",
    empty: options.Empty = "keep_best",
    empty_per: options.EmptyPer = "question",
    format_: options.OutputFormat = None,
    output: options.Output = None,
    details: options.Details = False,
) -> None:
    """Prune FILES, or standard input, for a question.

    By --threshold or --target-recall, --share-of-best, --top-k and --max-tokens, each of which narrows what the others
    leave; without any by the labeler's own threshold.
    """
    with clear_errors():
        named = {"all": DEPENDENCIES, "none": ()}
        kinds = named.get(closure, tuple(part.strip() for part in closure.split(",")))
        policy = Policy(
            threshold=threshold,
            top_k=top_k,
            max_tokens=max_tokens,
            target_recall=target_recall,
            closure=kinds,  # type: ignore[arg-type]
            empty=empty,
            empty_per=empty_per,
            share_of_best=share_of_best,
            top_documents=top_documents,
            reorder=reorder,
            min_document_units=min_document_units,
            max_document_units=max_document_units,
            min_document_tokens=min_document_tokens,
            max_document_tokens=max_document_tokens,
            neighbours=(before, behind),
            protect=tuple(protect or ()),
            redundancy=redundancy,
            mmr=mmr,
        )
        known = None if calibration is None else Calibration.load(calibration)
        count = estimate_tokens if tokenizer is None else counter_from(tokenizer)
        kept = DocumentCache(folder=cache) if cache is not None or questions is not None else None
        pruner = ContextPruner(labeler, splitter=splitter, count_tokens=count, calibration=known, cache=kept)
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


def _default_format(output: Path | None) -> options.Format:
    if output is not None:
        return SUFFIXES.get(output.suffix.lower(), "text")
    return "terminal" if sys.stdout.isatty() else "text"


def _write(result: Result, format_: options.Format, output: Path | None, details: bool) -> None:
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


def _render(result: Result, format_: options.Format, details: bool) -> str:
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
