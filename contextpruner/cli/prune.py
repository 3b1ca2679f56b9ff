"""`contextpruner prune`: files or questions in, kept texts out, in a form for a pipe, a terminal or a browser.

Of many questions one result a line comes out, in their order, each written when it is found; a file is whole or absent.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console

from contextpruner.cli import options, progress_bar
from contextpruner.cli.errors import clear_errors, say
from contextpruner.decisions.calibration import Calibration
from contextpruner.decisions.closure import closure_of
from contextpruner.decisions.rules import Policy
from contextpruner.decisions.token_counter import counter_from, estimate_tokens
from contextpruner.documents.cache import DocumentCache
from contextpruner.documents.document import Document
from contextpruner.documents.encodings import AUTO
from contextpruner.documents.files import read_files, read_lines
from contextpruner.documents.questions import QuestionLine, read_questions
from contextpruner.pruner import ContextPruner
from contextpruner.results.citations import cited
from contextpruner.results.html_page import html_page
from contextpruner.results.result import Result
from contextpruner.results.terminal_view import print_result
from prunekernels.io.escape import GENERATOR, one_line
from prunekernels.io.marks import has_mark
from prunekernels.io.outputs import atomic_text

SUFFIXES: dict[str, options.Format] = {".html": "html", ".htm": "html", ".json": "json"}


def prune(
    files: options.Files = None,
    question: options.Question = None,
    questions: options.Questions = None,
    labeler: options.DefaultLabelerText = None,
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
    output: options.Output = Path("-"),
    encoding: options.Encoding = "utf-8",
    overwrite: options.Overwrite = False,
    details: options.Details = False,
) -> None:
    """Prune FILES, or standard input, for a question.

    By --threshold or --target-recall, --share-of-best, --top-k and --max-tokens, each of which narrows what the others
    leave; without any by the labeler's own threshold.
    """
    with clear_errors():
        policy = Policy(
            threshold=threshold,
            top_k=top_k,
            max_tokens=max_tokens,
            target_recall=target_recall,
            closure=closure_of(closure),
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
        if questions is not None and (format_ or details):
            raise ValueError("--format and --details are for one --question; many come out as lines of JSON")
        paths = files or (["-"] if questions is None and not sys.stdin.isatty() else [])
        if questions == "-" and "-" in paths:
            raise ValueError('standard input can be read only once, got "-" twice')
        if questions is None and not paths:
            raise ValueError("want files to prune, or text on standard input")
        inputs = [*paths, *(str(path) for path in (questions, calibration, tokenizer, _model_of(pruner)) if path)]
        replaces = overwrite or has_mark(GENERATOR.encode())
        with atomic_text(output, replaces=replaces, inputs=inputs) as file:
            if questions is not None:
                _prune_many(pruner, questions, _read(paths, encoding) if paths else [], policy, file)
                return
            documents = _read(paths, encoding)
            with progress_bar.over_batches():
                result = pruner.prune(question or "", documents, policy)
            _write(result, format_ or _default_format(output), output, details, file)


def _model_of(pruner: ContextPruner) -> str | None:
    model = getattr(pruner.labeler, "model", None)
    return model if isinstance(model, str) else None


def _prune_many(
    pruner: ContextPruner, questions: str, shared: Sequence[Document], policy: Policy, file: TextIO
) -> None:
    with progress_bar.over_lines([questions]) as watched:
        asked = read_questions(watched(read_lines(questions, sys.stdin.buffer)), shared)
        for line in _answers(pruner, asked, policy):
            file.write(line)


def _answers(pruner: ContextPruner, asked: Iterator[QuestionLine], policy: Policy) -> Iterator[str]:
    """One line of JSON for each question."""
    for item in asked:
        try:
            result = pruner.prune(item.question, item.documents, policy)
        except ValueError as error:
            raise ValueError(f"{item.place}: {error}") from error
        given = {"given": item.others} if item.others else {}
        yield json.dumps(result.to_dict() | given, ensure_ascii=False) + "\n"


def _read(paths: list[str], encoding: str) -> list[Document]:
    """The documents of `paths`; what is passed over is named on standard error."""
    documents, no_text = read_files(paths, sys.stdin.buffer, encoding)
    if no_text:
        others = f" and {len(no_text) - 3} more" if len(no_text) > 3 else ""
        called = "text" if encoding == AUTO else {"utf-8": "UTF-8"}.get(encoding, encoding) + " text"
        say(f"passed over, as no {called}: {', '.join(map(one_line, no_text[:3]))}{others}")
    return documents


def _default_format(output: Path) -> options.Format:
    if str(output) == "-" and sys.stdout.isatty():
        return "terminal"
    return SUFFIXES.get(output.suffix.lower(), "text")


def _write(result: Result, format_: options.Format, output: Path, details: bool, file: TextIO) -> None:
    if format_ == "terminal" and str(output) == "-":
        # asked for by name it is coloured in a pipe too, say before `less -R`
        print_result(result, Console(force_terminal=True, highlight=False), details)
        return
    file.write(_render(result, format_, details))


def _render(result: Result, format_: options.Format, details: bool) -> str:
    if format_ == "json":
        return json.dumps(result.to_dict(), ensure_ascii=False, indent=1) + "\n"
    if format_ == "html":
        return html_page(result)
    if format_ == "prompt":
        return cited(result, titles=True) + "\n"
    if format_ == "terminal":
        page = io.StringIO()
        print_result(result, Console(file=page, force_terminal=True, highlight=False), details)
        return page.getvalue()
    kept = [document.text for document in result.documents if document.text]
    # the texts as they are; one that does not end its last line must not run into the next
    return "".join(text if text.endswith("\n") else text + "\n" for text in kept)
