"""The splitter: a text becomes units that partition it, read in the format that it is written in.

Blocks first (`formats.markdown`, `formats.html`), then what is in them (`blocks`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contextpruner.documents.document import Document, check_text
from contextpruner.documents.format_detection import Format, is_code
from contextpruner.units.blocks import MAX_CHARACTERS, Block, SentenceEnds, split_blocks
from contextpruner.units.formats.html.units import split_html
from contextpruner.units.formats.markdown import markdown_blocks
from contextpruner.units.sentences.boundaries import sentence_ends
from contextpruner.units.unit import RELATIONS, Unit

Splitter = Callable[[str], Sequence[Unit]]


@dataclass(frozen=True)
class SplitDocument:
    """A document and its units, which partition its text: what a labeler reads."""

    document: Document
    units: tuple[Unit, ...]

    @property
    def texts(self) -> list[str]:
        """What a reader sees of every unit, and what is kept of it, if it is: its slice, but in HTML."""
        return [self.document.text[unit.start : unit.end] if unit.text is None else unit.text for unit in self.units]

    @property
    def seen(self) -> SplitDocument:
        """The document without the markup between its blocks: what of it a reader sees."""
        place = list(itertools.accumulate((unit.kind != "markup" for unit in self.units), initial=0))
        if place[-1] == len(self.units):
            return self
        units = [unit for unit in self.units if unit.kind != "markup"]
        links = [{link: place[at] for link in RELATIONS if (at := getattr(unit, link)) is not None} for unit in units]
        return SplitDocument(
            self.document, tuple(unit._replace(**link) for unit, link in zip(units, links, strict=True))
        )


def split(text: str, max_characters: int = MAX_CHARACTERS, cut: SentenceEnds = sentence_ends) -> list[Unit]:
    """Cut `text`, prose or Markdown, into units; an empty text has none. What looks like source code is cut as that.

    `cut` finds the sentences of a stretch of prose. Raises ValueError for what is no text, or holds lone surrogates.
    """
    if is_code(check_text("the text", text)):
        return split_code(text, max_characters)
    return split_blocks(text, markdown_blocks(text), max_characters, cut)


def split_code(text: str, max_characters: int = MAX_CHARACTERS) -> list[Unit]:
    """Cut `text`, a file of source code in any language, into its lines."""
    check_text("the text", text)
    return split_blocks(text, [Block(0, len(text), "code")], max_characters)


def split_format(
    text: str, format_: Format, max_characters: int = MAX_CHARACTERS, cut: SentenceEnds = sentence_ends
) -> list[Unit]:
    """The units of `text`, read in this format; `cut` finds the sentences of a stretch of its prose."""
    if format_ == "html":
        return split_html(text, max_characters, cut)
    if format_ == "code":
        return split_code(text, max_characters)
    if format_ == "markdown":
        return split_blocks(text, markdown_blocks(text), max_characters, cut)
    return split(text, max_characters, cut)
