"""The relations between the units of a text, made once by the splitter: what leans on what, and what introduces what.

A reader of a format gives what only it can see (headings, headers, parents, signatures); `leaning` adds what shows in
the sequence. Here each unit learns what it introduces, and whether it does more than that:

    heading, Q:, summary   the first thing in its section: a sentence, or a whole list, table or stretch of code; where
                           it asks a question, the whole paragraph
    lead-in, caption       all of the list, the table, the code or the paragraph that leans on it; a sentence that
                           stands alone above a table is its caption
    term, parent item      what it means, the items below it
    signature, comment     the lines of code below it, up to a blank one

but never more than `REACH` characters and the first unit. A heading, a header row, a fence and a term never compete as
answers, a lead-in, a caption or a parent item only where it is a statement of its own, ending in a stop. Where that
would leave nothing, all do.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence

from contextpruner.units.leaning import (
    BLANK_LINE,
    COMMENT,
    FAMILIES,
    PROMISES,
    QUESTION,
    ends_in_colon,
    ends_in_stop,
    ends_paragraph,
    lean,
)
from contextpruner.units.pronouns import leans_back
from contextpruner.units.unit import Unit

# characters that are introduced together
REACH = 600


def relate(units: Sequence[Unit], texts: Sequence[str]) -> list[Unit]:
    """`units` with all of their relations; `texts` is what a reader sees of each."""
    related = list(units)
    shown = [index for index, unit in enumerate(units) if unit.kind != "markup"]
    lean(related, texts, shown)
    _Introductions(related, texts, shown).run()
    headers = {other for index in shown for kind, other in related[index].relations if kind == "header"}
    for index in shown:
        if related[index].kind == "table_row" and index not in headers:
            # a row that heads nothing is a row
            related[index] = related[index]._replace(competes=True)
    if not any(related[index].competes for index in shown):
        for index in shown:
            related[index] = related[index]._replace(competes=True)
    return related


class _Introductions:
    """Goes through the units from the last to the first, so that what is introduced is known before what introduces."""

    def __init__(self, units: list[Unit], texts: Sequence[str], shown: Sequence[int]) -> None:
        self.units, self.texts, self.shown = units, texts, shown
        self.sizes = list(itertools.accumulate(map(len, texts), initial=0))
        # the first unit that leans on each, and the end of all that does, directly or not
        self.first: dict[int, int] = {}
        # the captions above a table, and those below one with its rows
        self.captions: set[int] = set()
        self.above: dict[int, tuple[int, int]] = {}
        self.ends = list(range(1, len(units) + 1))
        # the first unit in the section of each heading
        self.under: dict[int, int] = {}
        # where the list, table, code or paragraph of each ends, and the thing that begins there
        self.group_ends = list(range(1, len(units) + 1))
        # where the lines of code that follow each without a blank one end
        self.code_ends = list(range(1, len(units) + 1))
        self.things: list[tuple[int, int] | None] = [None] * len(units)

    def run(self) -> None:
        following: int | None = None
        for index in reversed(self.shown):
            self._count(index)
            if following is not None and self._goes_on(index, following):
                self.group_ends[index] = self.group_ends[following]
            self._introduce(index, following)
            heading = self.units[index].link("heading")
            if heading is not None:
                self.under[heading] = index
            self.things[index] = self._thing(index, following)
            following = index
        for caption, rows in self.above.items():
            competes = ends_in_stop(self.texts[caption])
            self.units[caption] = self.units[caption]._replace(introduces=self._reach(*rows), competes=competes)

    def _count(self, index: int) -> None:
        for kind, other in self.units[index].relations:
            is_term = kind == "header" and self.units[other].kind == "list_item"
            if other < index and (kind in ("lead_in", "caption", "parent") or is_term):
                self.first[other] = index
                self.ends[other] = max(self.ends[other], self.ends[index])
            if kind == "caption":
                is_alone = sum(one == "caption" for one, _ in self.units[index].relations) == 1
                if other > index:
                    self.above[other] = (index, self.above.get(other, (0, index + 1))[1])
                elif is_alone:
                    self.captions.add(other)

    def _goes_on(self, index: int, following: int) -> bool:
        here, there = self.units[index], self.units[following]
        if here.link("heading") != there.link("heading"):
            return False
        if here.kind == there.kind == "sentence":
            return not ends_paragraph(here, self.texts[index])
        family = FAMILIES.get(here.kind, "list" if here.link("parent") is not None else "")
        if family != FAMILIES.get(there.kind, "list" if there.link("parent") is not None else "") or not family:
            return False
        return family != "table" or there.link("header") is not None

    def _introduce(self, index: int, following: int | None) -> None:
        unit, text = self.units[index], self.texts[index]
        if unit.introduces is not None:
            self.units[index] = unit._replace(introduces=self._reach(*unit.introduces))
        elif unit.kind == "turn" and text.rstrip().endswith(QUESTION) and following is not None:
            self.units[index] = unit._replace(introduces=(following, following + 1))
        elif unit.kind == "code":
            self._explain(index, following)
        elif unit.kind == "heading":
            thing = self.things[self.under[index]] if index in self.under else None
            if thing is not None and self.units[thing[0]].kind == "sentence" and text.rstrip().endswith(QUESTION):
                thing = self._reach(thing[0], self.group_ends[thing[0]])
            self.units[index] = unit._replace(introduces=thing, competes=False)
        elif index in self.first and unit.kind in ("sentence", "list_item"):
            is_term = self.units[self.first[index]].link("header") == index
            only = is_term or ends_in_colon(text) or not ends_in_stop(text)
            is_promise = unit.kind == "sentence" and PROMISES.search(text) is not None
            is_caption = index in self.captions and not leans_back(text)
            is_lead = only or is_promise or is_caption or text.rstrip().endswith(QUESTION)
            introduced = self._reach(self.first[index], self.ends[index]) if is_lead else None
            self.units[index] = unit._replace(introduces=introduced, competes=not only)

    def _explain(self, index: int, following: int | None) -> None:
        """A comment or a signature introduces the lines below it."""
        if following is None or not self._goes_on(index, following) or BLANK_LINE.search(self.texts[index]):
            return
        self.code_ends[index] = self.code_ends[following]
        if self.units[following].link("signature") == index or COMMENT.match(self.texts[index]):
            introduced = self._reach(following, self.code_ends[index])
            self.units[index] = self.units[index]._replace(introduces=introduced)

    def _thing(self, index: int, following: int | None) -> tuple[int, int] | None:
        """What a heading right before `index` introduces."""
        unit, text = self.units[index], self.texts[index]
        if unit.introduces is not None and unit.kind != "code":
            return unit.introduces if not unit.competes else (index, unit.introduces[1])
        if unit.competes:
            if following is not None and text.rstrip().endswith(",") and ends_paragraph(unit, text):
                # who is addressed at the head of a letter is not all that it says
                thing = self.things[following]
                return thing and (index, thing[1])
            end = index + 1 if unit.kind == "sentence" else self.group_ends[index]
            return self._reach(index, end)
        if following is None or unit.kind == "heading":
            return None
        is_beside = unit.link("heading") == self.units[following].link("heading")
        return self.things[following] if is_beside else None

    def _reach(self, first: int, end: int) -> tuple[int, int]:
        whole = bisect_right(self.sizes, self.sizes[first] + REACH) - 1
        return first, max(first + 1, min(end, whole))
