"""The view in a terminal, document by document: kept text green, dropped text dim and struck through.

A document of which nothing is kept is its header alone, lest a folder of files hide the few that answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextpruner.result import PrunedDocument, Result, Span

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

KEPT = "green"
DROPPED = "dim strike"


def show(result: Result, console: Console, details: bool = False) -> None:
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


def printable(text: str) -> str:
    """`text` with control characters as pictures, so that no document can steer a terminal or a page."""
    return text.replace("\r\n", "\n").translate(PICTURES)


PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {
    127: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    # these turn the direction of the text that follows
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd"),
}


def name_of(index: int, document: PrunedDocument) -> str:
    """The title, else the id, else the place of a document."""
    if document.title:
        return document.title
    return f"document {index + 1}" if document.id is None else str(document.id)


def other_name_of(document: PrunedDocument) -> str:
    """The id of a document that goes by its title, or nothing where it adds nothing."""
    adds = document.title and document.id is not None and str(document.id) != document.title
    return str(document.id) if adds else ""


def percent(after: int, before: int) -> str:
    """`after` as a share of `before`; nothing of nothing is 0 %."""
    return f"{100 * after / max(before, 1):.0f} %"


def _header(index: int, document: PrunedDocument) -> Text:
    from rich.text import Text

    kept = percent(document.n_characters_after, document.n_characters_before)
    n_kept = sum(span.kept for span in document.seen)
    other = other_name_of(document).replace("\n", " ")
    units = f"{n_kept} of {len(document.seen)} units" if document.seen else "empty"
    return Text.assemble(
        (f"{index + 1}  ", "cyan"),
        (printable(name_of(index, document)).replace("\n", " "), "bold cyan"),
        (printable(f"   {other}") if other else "", "cyan"),
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
        (f"{mark} {span.probability:.2f} {span.reason:<15} ", KEPT if span.kept else "dim"), (slice_, style)
    )


def _footer(result: Result) -> Text:
    from rich.text import Text

    characters = percent(result.n_characters_after, result.n_characters_before)
    return Text(
        f"kept {result.n_characters_after:,} of {result.n_characters_before:,} characters ({characters}), "
        f"{result.n_tokens_after:,} of {result.n_tokens_before:,} tokens; "
        f"{result.labeler} took {result.labelling_ms:.1f} ms",
        "dim",
    )
