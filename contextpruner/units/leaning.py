"""What a unit leans on, as it shows in the sequence of the units: lead-ins, captions, antecedents.

A list or code leans on the sentence right before it, in the same section, that ends in a colon or in no stop at all, or
promises something ("The following is forbidden."); a table on the short paragraph that ends so, on any sentence that
stands alone above it, or on a caption behind it ("Table 2: ..."). Prose leans on a question alone on its line before
it, and on a lead-in that ends in a colon, up to the end of its paragraph; the sentence behind a question in a paragraph
on that. Lines that begin with a number lean on the line of words above them. A list that goes on after an interruption
keeps its lead-in. In HTML a sentence without a colon leads up to what stands beside it in the same element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from contextpruner.units.pronouns import is_told_there, leans_back
from contextpruner.units.unit import Kind, Relation, Unit

FAMILIES: dict[Kind, str] = {
    "list_item": "list",
    "table_row": "table",
    **dict.fromkeys(("fence", "code", "environment"), "code"),
}
# what an element of HTML holds that a sentence beside it may lead up to
CONTAINERS = frozenset(("ul", "ol", "dl", "menu", "table", "pre"))

QUOTED = re.compile(r"[ \t]*(?:>[ \t]?)+")

# what explains the code below it, and how many lines of it the code leans on
COMMENT = re.compile(r"\s*(?:#(?!include|define|!)|//|/\*|\*|--|;;|\"\"\"|''')")
COMMENT_LINES = 3
BLANK_LINE = re.compile(r"\n[ \t\r]*\n")

# lines with numbers that are a list without marks
LINES = 2

# a paragraph before a table that is no longer names it
LABEL_CHARACTERS = 200

QUESTION = ("?", "？", "؟", "\u037e")
CLOSERS = " \t\r\n*_\"'”’»)]"
CAPTION = re.compile(r"[*_\s]*(?:tab(?:le|elle|leau|ella|ela|la)?\.?|таблица|表)\s*\d", re.IGNORECASE)
# a statement that promises a list all the same
PROMISES = re.compile(
    r"\b(?:follow(?:s|ing)|below|these|folgend\w*|diese|suivante?s?|voici|ci-dessous|ces|siguientes?|estos|estas"
    r"|seguent[ei]|quest[ei]|следующ\w*)\b|以下|如下|次の",
    re.IGNORECASE,
)
# a number or letter with which no list begins
LATER_ITEM = re.compile(r"\s*\(?(?:[2-9]|[1-9]\d+|[b-zB-Z])[.)]")


def ends_in_colon(text: str) -> bool:
    """Whether `text` leads up to something."""
    return text.rstrip(CLOSERS).endswith((":", "："))


def ends_in_stop(text: str) -> bool:
    """Whether `text` is a statement or a question of its own."""
    return text.rstrip(CLOSERS).endswith((".", "!", "?", "…", "。", "！", "？", "।", "؟"))


def ends_paragraph(unit: Unit, text: str) -> bool:
    """Whether no sentence of the same paragraph follows."""
    breaks = text[len(text.rstrip()) :].count("\n")
    return breaks > (1 if unit.text is None else 0)


def quote_depth(text: str) -> int:
    """How deep the first line of `text` is quoted."""
    marks = QUOTED.match(text)
    return marks.group().count(">") if marks else 0


def lean(units: list[Unit], texts: Sequence[str], shown: Sequence[int]) -> None:
    """Add what each of `units` at the places `shown` leans on, in the order of the text."""
    for lines in _lists_of_lines(units, texts, shown):
        for index in lines[1:]:
            units[index] = units[index].linked("lead_in", lines[0])
    reader = _Reader(units, texts)
    for index in shown:
        reader.read(index)


def _lists_of_lines(units: Sequence[Unit], texts: Sequence[str], shown: Sequence[int]) -> Iterator[list[int]]:
    """Paragraphs of a line of words and `LINES` or more that begin with a number; none is a statement or a lead-in."""
    lines: list[int] = []
    is_broken = False
    for index in shown:
        unit, text = units[index], texts[index]
        is_line = unit.kind == "sentence" and not unit.path and unit.link("parent") is None
        is_line = is_line and not ends_in_stop(text) and not ends_in_colon(text) and not quote_depth(text)
        if not is_line or (lines and unit.link("heading") != units[lines[0]].link("heading")):
            # a paragraph of other things as well
            is_broken, lines = unit.kind == "sentence" and not ends_paragraph(unit, text), []
            continue
        if not is_broken:
            lines.append(index)
        if ends_paragraph(unit, text) or index == shown[-1]:
            begins = [texts[one].lstrip()[:1] for one in lines]
            if len(lines) > LINES and not begins[0].isdigit() and all(map(str.isdigit, begins[1:])):
                yield lines
            is_broken, lines = False, []


class _Reader:
    """Goes through the units once and remembers what the next one may lean on."""

    def __init__(self, units: list[Unit], texts: Sequence[str]) -> None:
        self.units, self.texts = units, texts
        self.before: int | None = None
        # what is being read: a list, a table, code, or prose behind a colon; where it begins, what it leans on
        self.family = ""
        self.begin = 0
        self.leads: list[int] = []
        # the lines of the comment that the next line of code may have above it
        self.comment: list[int] = []
        self.list_leads: list[int] = []
        # the sentences of the current paragraph
        self.paragraph: list[int] = []
        # the captions below their tables
        self.below: set[int] = set()
        # the last sentence, and the last sentence or list item, that stands alone
        self.sentence: int | None = None
        self.either: int | None = None

    def read(self, index: int) -> None:
        unit = self.units[index]
        if unit.kind == "rule" and self.texts[index].lstrip().startswith("\\begin"):
            # what leads up to a list of LaTeX leads up to its items
            return
        family = self._family(index, unit)
        self._caption_behind(index)
        if unit.kind == "heading":
            self.sentence = self.either = None
            self.list_leads = []
        if not family:
            self.leads = []
        elif family != self.family or self._is_other(family, index, unit):
            self.begin = index
            self.leads = self._leads(index, family)
        if unit.link("parent") is None:
            relation: Relation = "caption" if family == "table" else "lead_in"
            for lead in self.leads:
                self.units[index] = self.units[index].linked(relation, lead)
        self._answer(index)
        self._explained(index)
        self._antecedent(index)
        self.family = family
        self._end(index)

    def _family(self, index: int, unit: Unit) -> str:
        if unit.kind != "sentence" or self.before is None:
            return FAMILIES.get(unit.kind, "")
        if unit.link("parent") is not None:
            return self.family if self.family == "list" else ""
        last, text = self.units[self.before], self.texts[self.before]
        # a question alone on its line, or as an item of a list, has its answer below
        is_alone = text.endswith("\n") and (last.kind == "list_item" or len(self.paragraph) == 1)
        is_asked = is_alone and text.rstrip(CLOSERS).endswith(QUESTION)
        is_promised = (last.kind == "sentence" and ends_in_colon(text)) or is_asked
        goes_on = self.family == "prose" and not self._is_new(index)
        return "prose" if goes_on or (is_promised and self._is_beside(last, unit)) else ""

    def _is_new(self, index: int) -> bool:
        """Whether a paragraph begins: none goes on in what is quoted deeper, or less deep."""
        if self.before is None or ends_paragraph(self.units[self.before], self.texts[self.before]):
            return True
        return quote_depth(self.texts[self.before]) != quote_depth(self.texts[index])

    def _is_other(self, family: str, index: int, unit: Unit) -> bool:
        """Whether a table or a paragraph of the same kind begins."""
        if family == "prose":
            return self._is_new(index)
        return family == "table" and unit.link("header") is None

    def _leads(self, index: int, family: str) -> list[int]:
        """What the list, the table, the code or the paragraph that begins at `index` leans on."""
        found: list[int] = []
        if self.before is not None and self._is_lead(self.units[self.before], index, family):
            label = sum(len(self.texts[one]) for one in self.paragraph)
            found = self.paragraph if family == "table" and label <= LABEL_CHARACTERS else [self.before]
        if family == "list":
            is_interrupted = self.before is not None and self.units[self.before].kind in ("code", "fence", "table_row")
            if is_interrupted or LATER_ITEM.match(self.texts[index]):
                found = self.list_leads
            self.list_leads = found
        return found

    def _is_lead(self, last: Unit, index: int, family: str) -> bool:
        unit, has_colon = self.units[index], ends_in_colon(self.texts[self.before or 0])
        if self.before in self.below or not self._is_beside(last, unit) or last.kind not in ("sentence", "list_item"):
            return False
        if has_colon or family == "prose":
            return last.kind == "sentence" or family != "list"
        text = self.texts[self.before or 0]
        # one sentence may name a table, several are a text of their own
        is_label = family == "table" and len(self.paragraph) == 1
        is_statement = ends_in_stop(text) and not PROMISES.search(text) and not is_label
        if last.kind == "list_item" or is_statement:
            return False
        # in HTML the two stand in one element
        around = last.path.rpartition("/")[0]
        rest = unit.path[len(around) :].lstrip("/") if unit.path.startswith(around) else ""
        return not unit.path or rest.partition("/")[0] in CONTAINERS

    @staticmethod
    def _is_beside(last: Unit, unit: Unit) -> bool:
        return last.link("heading") == unit.link("heading")

    def _caption_behind(self, index: int) -> None:
        """A caption below its table, which then needs none above."""
        unit = self.units[index]
        if self.family != "table" or unit.kind != "sentence" or not self._is_caption(index):
            return
        if any(map(self._is_caption, self.leads)):
            return
        self.below.add(index)
        for row in range(self.begin, index):
            if self.units[row].kind == "table_row":
                links = tuple(link for link in self.units[row].relations if link[0] != "caption")
                self.units[row] = self.units[row]._replace(relations=links).linked("caption", index)

    def _is_caption(self, index: int) -> bool:
        is_named = self.units[index].path.endswith("figcaption")
        return is_named or CAPTION.match(self.texts[index]) is not None

    def _answer(self, index: int) -> None:
        """A turn or a sentence leans on the question before it; a sentence that goes on behind a formula on that."""
        if self.before is None:
            return
        unit, last, text = self.units[index], self.units[self.before], self.texts[self.before]
        if unit.kind == last.kind == "turn" and text.rstrip().endswith(QUESTION):
            self.units[index] = unit.linked("lead_in", self.before)
        if unit.kind == last.kind == "sentence" and text.rstrip(CLOSERS).endswith(QUESTION) and not self._is_new(index):
            self.units[index] = unit.linked("lead_in", self.before)
        if unit.kind == "sentence" and last.kind == "environment" and self.texts[index].lstrip()[:1].islower():
            self.units[index] = unit.linked("antecedent", self.before)

    def _explained(self, index: int) -> None:
        """Code leans on the comment right above it."""
        text, is_code = self.texts[index], self.units[index].kind == "code"
        is_comment = is_code and COMMENT.match(text) is not None
        for line in self.comment if is_code and not is_comment else ():
            self.units[index] = self.units[index].linked("lead_in", line)
        self.comment = [*self.comment, index][-COMMENT_LINES:] if is_comment and not BLANK_LINE.search(text) else []

    def _antecedent(self, index: int) -> None:
        unit = self.units[index]
        if unit.kind not in ("sentence", "list_item"):
            return
        is_sentence = unit.kind == "sentence"
        if leans_back(self.texts[index]):
            last = self.sentence if is_sentence else self.either
            # where all before lean back, or a place is told in the sentence before, that one is meant
            is_last = self.before is not None and self.units[self.before].kind in ("sentence", "list_item")
            if is_last and (last is None or is_told_there(self.texts[index])):
                last = self.before
            self.units[index] = self.units[index].linked("antecedent", last)
        else:
            self.either = index
            self.sentence = index if is_sentence else self.sentence

    def _end(self, index: int) -> None:
        unit = self.units[index]
        if unit.kind != "sentence" or self._is_new(index):
            self.paragraph = []
        if unit.kind == "sentence":
            self.paragraph.append(index)
        self.before = index
