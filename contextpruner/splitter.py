"""The splitter: a text becomes units that partition it, in linear time and without data files.

Blocks first (`blocks`): headings, list items, table rows, fenced code, paragraphs; then sentences inside a
paragraph and inside a long list item (`sentences`); then whatever is still too long is cut at white space
(`pieces`). Units are contiguous, never empty, and cover the text, so that any choice of them is verbatim.

White space belongs to the unit before it, and at the head of a text to the first unit; only the indentation
of a line that begins a block stays with its line. A unit has at most `max_characters` characters besides
that white space.
"""

from __future__ import annotations

from collections.abc import Iterator

from contextpruner import blocks, pieces, sentences
from contextpruner.unit import Unit

MAX_CHARACTERS = 1200

# a list item of this length is read as a whole; a longer one is cut into its sentences
LIST_ITEM_CHARACTERS = 300


def split(text: str, max_characters: int = MAX_CHARACTERS) -> list[Unit]:
    """Cut `text` into units; an empty text has none."""
    if max_characters < 1:
        raise ValueError(f"want max_characters of at least 1, got {max_characters}")
    units: list[Unit] = []
    spaceless = pieces.has_spaceless_script(text)
    for block in blocks.cut(text):
        for start, end in _within(text, block):
            kind = "sentence" if block.kind == "prose" else block.kind
            if spaceless or end - start > max_characters:
                ends = pieces.cut(text, start, end, max_characters, by_line=kind == "code")
            else:
                ends = [end]
            for stop in ends:
                units.append(Unit(start, stop, kind))
                start = stop
    return units


def _within(text: str, block: blocks.Block) -> Iterator[tuple[int, int]]:
    """The sentences of a paragraph or a long list item; any other block as it is."""
    start, end = block.start, block.end
    if block.kind == "prose" or (block.kind == "list_item" and end - start > LIST_ITEM_CHARACTERS):
        for stop in sentences.cut(text, start, end):
            yield start, stop
            start = stop
    else:
        yield start, end
