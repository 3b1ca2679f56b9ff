"""The view in a terminal, document by document: kept text green, dropped text dim and struck through.

A document of which nothing is kept is its header alone, lest a folder of files hide the few that answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextpruner.results.result import PrunedDocument, Result, Span, name_of, other_name_of, percent
from prunekernels.io.escape import one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

KEPT = "green"
DROPPED = "dim strike"


def print_result(result: Result, console: Console, details: bool = False) -> None:
    """Print `result`; `details` gives every unit a line with its probability and reason."""
    from rich.text import Text

    console.print(Text.assemble(("Question  ", "dim"), (printable(result.question.strip()), "bold")))
    had_body = True
    for index, document in enumerate(result.documents):
        has_body = details or any(span.kept for span in document.seen)
        if has_body or had_body:
            console.print()
        had_body = has_body
        console.print(_header(index, document))
        if details:
            for span in document.seen:
                console.print(_line(document, span))
        elif has_body:
            console.print(_body(document))
    console.print()
    console.print(_footer(result))


def _header(index: int, document: PrunedDocument) -> Text:
    from rich.text import Text

    kept = percent(document.n_characters_after, document.n_characters_before)
    n_kept = sum(span.kept for span in document.seen)
    other = one_line(other_name_of(document))
    units = f"{n_kept} of {len(document.seen)} units" if document.seen else "empty"
    return Text.assemble(
        (f"{index + 1}  ", "cyan"),
        (one_line(name_of(index, document)), "bold cyan"),
        (f"   {other}" if other else "", "cyan"),
        (f"   score {document.score:.2f}   kept {kept}, {units}", "cyan"),
    )


def _body(document: PrunedDocument) -> Text:
    from rich.text import Text

    text = Text()
    for span in document.seen:
        slice_ = printable(document.shown(span))
        bare = slice_.rstrip()
        # a struck space would join two dropped sentences into one line
        text.append(bare, KEPT if span.kept else DROPPED).append(slice_[len(bare) :])
    text.rstrip()
    return text


def _line(document: PrunedDocument, span: Span) -> Text:
    from rich.text import Text

    slice_ = " ".join(printable(document.shown(span)).split())
    mark, style = ("+", KEPT) if span.kept else ("-", DROPPED)
    return Text.assemble(
        (f"{mark} {span.probability:.2f} {one_line(span.reason):<15} ", KEPT if span.kept else "dim"), (slice_, style)
    )


def _footer(result: Result) -> Text:
    from rich.text import Text

    characters = percent(result.n_characters_after, result.n_characters_before)
    note = f"; {one_line(result.note)}" if result.note else ""
    return Text(
        f"kept {result.n_characters_after:,} of {result.n_characters_before:,} characters ({characters}), "
        f"{result.n_tokens_after:,} of {result.n_tokens_before:,} tokens; "
        f"{one_line(result.labeler)} took {result.labelling_ms:.1f} ms{note}",
        "dim",
    )
