"""HTML in units: slices of the source that partition it, cut where a reader of the page would cut.

The visible text (`html_blocks`) is cut as any text is, headings, list items, table rows and lines of `pre` by their
tags; then every unit is traced back to the source. Its slice runs from its first to its last visible character, and
tags in between belong to it; between two sentences of a block closing tags belong to the first and opening ones to
the second. What stands between blocks (tags, scripts, styles, comments, white space) is a unit of kind "markup",
which has no text. So every unit has a `text`, what a reader sees of it, for labelers; its `path` names the
elements down to its block, say "html/body/ul/li"; start and end refer to the source as it was given.
"""

from __future__ import annotations

import re

from contextpruner import html_blocks
from contextpruner.splitter import MAX_CHARACTERS, split_blocks
from contextpruner.unit import Unit

CLOSES = re.compile(r"(?:</[^>]*+>|\s++)*")


def split_html(source: str, max_characters: int = MAX_CHARACTERS) -> list[Unit]:
    """Cut the HTML `source` into units of at most `max_characters` visible characters and the markup between them."""
    view = html_blocks.view(source)
    text = view.text
    units: list[Unit] = []
    # where each unit of the view stands among the units
    place: list[int] = []
    position, block, last_block = 0, 0, -1
    for unit in split_blocks(text, view.blocks, max_characters):
        while view.blocks[block].end <= unit.start:
            block += 1
        start, end = view.origin(unit.start, unit.end)
        start, end = max(start, position), max(end, position)
        if start > position:
            if block == last_block:
                closes = CLOSES.match(source, position, start)
                start = closes.end() if closes else start
                units[-1] = units[-1]._replace(end=start)
            else:
                units.append(Unit(position, start, "markup", text=""))
        if end > start:
            heading, header, signature = (None if link is None else place[link] for link in _links(unit))
            path = view.paths[block]
            units.append(Unit(start, end, unit.kind, heading, header, signature, path, text[unit.start : unit.end]))
        place.append(len(units) - 1)
        position, last_block = max(end, start), block
    if position < len(source):
        units.append(Unit(position, len(source), "markup", text=""))
    return units


def _links(unit: Unit) -> tuple[int | None, int | None, int | None]:
    return unit.heading, unit.header, unit.signature
