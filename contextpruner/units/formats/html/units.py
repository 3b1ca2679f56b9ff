"""HTML in units: slices of the source that partition it, cut where a reader of the page would cut.

The visible text (`blocks`) is cut as any text is, headings, list items, table rows and lines of `pre` by their
tags; then every unit is traced back to the source. Its slice runs from its first to its last visible character, and
tags in between belong to it; between two sentences of a block closing tags belong to the first and opening ones to
the second. What stands between blocks (tags, scripts, styles, comments, white space) is a unit of kind "markup",
which has no text. So every unit has a `text`, what a reader sees of it, for labelers and prompts; its `path` names the
elements down to its block, say "html/body/ul/li"; start and end refer to the source as it was given. Tan et al. 2024
(HtmlRAG, arXiv:2411.02959) keep and drop such blocks of the tree.
"""

from __future__ import annotations

import re

from contextpruner.documents.document import check_text
from contextpruner.units.blocks import MAX_CHARACTERS, SentenceEnds, split_blocks
from contextpruner.units.formats.html.blocks import page_blocks
from contextpruner.units.formats.html.headings import HeadingsAndHeaders
from contextpruner.units.relations import relate
from contextpruner.units.sentences.boundaries import sentence_ends
from contextpruner.units.unit import Link, Unit

CLOSES = re.compile(r"(?:</[^>]*+>|\s++)*")


def split_html(source: str, max_characters: int = MAX_CHARACTERS, cut: SentenceEnds = sentence_ends) -> list[Unit]:
    """Cut the HTML `source` into units of at most `max_characters` visible characters and the markup between them.

    `cut` finds the sentences of a stretch of visible prose.
    """
    builder = _Builder(check_text("the text", source))
    for unit in split_blocks(builder.visible.text, builder.visible.blocks, max_characters, cut):
        builder.read(unit)
    builder.skip(len(source))
    return relate(builder.units, [unit.text or "" for unit in builder.units])


class _Builder:
    """Goes through the units of the visible text once and traces them back."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.page = page_blocks(source)
        self.visible = self.page.visible
        self.text = self.visible.text
        self.outline = HeadingsAndHeaders(self.page.last_inside)
        self.units: list[Unit] = []
        # where each unit of the visible text stands among the units
        self.standing: list[int] = []
        self.position = 0
        # the block that is being read, and what its units hang on
        self.block = -1
        self.links: tuple[Link, ...] = ()
        self.competes = True

    def read(self, unit: Unit) -> None:
        """A unit of the visible text."""
        start, end = self.visible.next_boundary(unit.start), self.visible.next_boundary(unit.end)
        begin, stop = self.visible.source_span(start, end) if start < end else (0, 0)
        if self.position < stop:
            is_new = self.block < 0 or self.visible.blocks[self.block].end <= start
            self.skip(begin, is_new)
            while self.block < 0 or self.visible.blocks[self.block].end <= start:
                self.block += 1
            if is_new:
                self._link(unit)
            read = Unit(self.position, stop, unit.kind, self.links, self.page.places[self.block].path)
            for kind, other in unit.relations:
                if kind in ("signature", "parent"):
                    read = read.linked(kind, self.standing[other])
            self.units.append(read._replace(text=self.text[start:end], competes=self.competes))
            self.position = stop
        elif start < end:
            # the end of the line, which stands nowhere in the source
            self.units[-1] = self.units[-1]._replace(text=f"{self.units[-1].text}{self.text[start:end]}")
        self.standing.append(len(self.units) - 1)

    def skip(self, to: int, is_new: bool = True) -> None:
        """What no reader sees, up to `to`: before a new block a unit of its own, inside a block nobody's."""
        if to > self.position and not is_new:
            closes = CLOSES.match(self.source, self.position, to)
            self.position = closes.end() if closes else to
            self.units[-1] = self.units[-1]._replace(end=self.position)
        elif to > self.position:
            self.units.append(Unit(self.position, to, "markup", text=""))
            self.position = to

    def _link(self, unit: Unit) -> None:
        place, here = self.page.places[self.block], len(self.units)
        level = self.visible.blocks[self.block].level if unit.kind == "heading" else 0
        heading = self.outline.heading(place, level, here)
        links = (*self.outline.headers(place, unit.kind == "table_row", here), ("heading", heading))
        self.links = tuple((kind, index) for kind, index in links if index is not None)
        self.competes = unit.kind != "heading" and (unit.kind != "table_row" or place.role not in ("head", "part"))
