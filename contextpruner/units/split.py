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
from contextpruner.units.formats.chat import chat_blocks
from contextpruner.units.formats.csv import csv_blocks
from contextpruner.units.formats.html.units import split_html
from contextpruner.units.formats.json import split_json
from contextpruner.units.formats.latex import latex_blocks
from contextpruner.units.formats.mail import mail_blocks
from contextpruner.units.formats.markdown import markdown_blocks
from contextpruner.units.formats.subtitles import subtitle_blocks
from contextpruner.units.relations import relate
from contextpruner.units.sentences.boundaries import sentence_ends
from contextpruner.units.unit import Unit, introduced_by

# readers of what is cut into blocks first
BLOCKS: dict[Format, Callable[[str], list[Block]]] = {
    "markdown": markdown_blocks,
    "csv": csv_blocks,
    "mail": mail_blocks,
    "chat": chat_blocks,
    "subtitles": subtitle_blocks,
    "latex": latex_blocks,
}

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
        return SplitDocument(
            self.document, tuple(_renumbered(unit, place) for unit in self.units if unit.kind != "markup")
        )

    @property
    def introduced_by(self) -> list[tuple[int, ...]]:
        """For each unit the earlier ones whose words are its own, too: header, lead-in, parents, headings."""
        return [introduced_by(self.units, index) for index in range(len(self.units))]


def _renumbered(unit: Unit, place: Sequence[int]) -> Unit:
    """`unit` with what it refers to at its new `place`."""
    links = tuple((kind, place[index]) for kind, index in unit.relations)
    introduces = unit.introduces and (place[unit.introduces[0]], place[unit.introduces[1]])
    return unit._replace(relations=links, introduces=introduces)


def split(text: str, max_characters: int = MAX_CHARACTERS, cut: SentenceEnds = sentence_ends) -> list[Unit]:
    """Cut `text`, prose or Markdown, into units; an empty text has none. What looks like source code is cut as that.

    `cut` finds the sentences of a stretch of prose. Raises ValueError for what is no text, or holds lone surrogates.
    """
    if is_code(check_text("the text", text)):
        return split_code(text, max_characters)
    return _related(text, markdown_blocks(text), max_characters, cut)


def split_code(text: str, max_characters: int = MAX_CHARACTERS) -> list[Unit]:
    """Cut `text`, a file of source code in any language, into its lines."""
    check_text("the text", text)
    return _related(text, [Block(0, len(text), "code")], max_characters)


def split_format(
    text: str, format_: Format, max_characters: int = MAX_CHARACTERS, cut: SentenceEnds = sentence_ends
) -> list[Unit]:
    """The units of `text`, read in this format; `cut` finds the sentences of a stretch of its prose."""
    if format_ == "html":
        return split_html(text, max_characters, cut)
    if format_ == "code":
        return split_code(text, max_characters)
    if format_ == "json":
        units = split_json(check_text("the text", text), max_characters)
        return relate(units, [text[unit.start : unit.end] for unit in units])
    if format_ in BLOCKS:
        return _related(check_text("the text", text), BLOCKS[format_](text), max_characters, cut)
    return split(text, max_characters, cut)


def _related(text: str, blocks: Sequence[Block], max_characters: int, cut: SentenceEnds = sentence_ends) -> list[Unit]:
    units = split_blocks(text, blocks, max_characters, cut)
    return relate(units, [text[unit.start : unit.end] for unit in units])
