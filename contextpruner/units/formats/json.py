"""JSON: whole documents, answers of programs, JSON lines, logs whose lines are JSON.

    record   a value that holds together: an object of an innermost list, a line of JSON lines, and where no list of
             objects is in it, a member of an object ("port": 5432); one that is longer than a unit may be is opened
    fence    what opens and closes a value that holds records: "users": [ and its bracket; it is kept with what is in
             it, and its key says what that is about

A list of objects leans on the scalar members before it in its object, the first `CONTEXT` of them: an order on the name
of who ordered. Nothing is parsed but strings, brackets, commas and colons, so that what is cut off, or only nearly
JSON, is read as far as it goes. Time is linear, however deep brackets stand in brackets.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from contextpruner.units.long_text import cut_long
from contextpruner.units.unit import Kind, Link, Unit

CONTEXT = 4

# a string that never ends is one up to the end of its line
MARK = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*"?|[\[\]{},]', re.DOTALL)
SPACE = re.compile(r"\s*+")
OPENING, CLOSING = "[{", "]}"


@dataclass
class _Value:
    """A value with its key, [begin, end) with the comma behind it; its members where it is an object or a list."""

    begin: int
    end: int = 0
    bracket: str = ""
    # where the closing bracket stands, if there is one
    close: int | None = None
    members: list[_Value] = field(default_factory=list)
    has_records: bool = False


def split_json(text: str, max_characters: int) -> list[Unit]:
    """Cut `text` into records and what stands around them."""
    writer = _Writer(text, max_characters)
    writer.write(_values(text))
    return writer.units


def _values(text: str) -> list[_Value]:
    """The values at the top of `text`, in order."""
    top = _Value(0, len(text), "[")
    stack = [top]
    # what has just been closed, and where what follows the last bracket or comma begins
    member: _Value | None = None
    at = 0
    for match in MARK.finditer(text):
        mark, start = match.group(), match.start()
        if mark == ",":
            begin = SPACE.match(text, at, start).end()  # type: ignore[union-attr]
            if member is None and begin < start:
                member = _Value(begin)
                stack[-1].members.append(member)
            if member is not None:
                member.end = match.end()
            member, at = None, match.end()
        elif mark in OPENING:
            begin = SPACE.match(text, at, start).end()  # type: ignore[union-attr]
            # a value right behind another one, as in JSON lines, ends it
            value = _Value(begin, bracket=mark)
            stack[-1].members.append(value)
            stack.append(value)
            member, at = None, match.end()
        elif mark in CLOSING and len(stack) > 1:
            begin = SPACE.match(text, at, start).end()  # type: ignore[union-attr]
            if member is None and begin < start:
                stack[-1].members.append(_Value(begin, start))
            member = stack.pop()
            member.close, member.end = start, match.end()
            _mark(stack[-1], member)
            at = match.end()
    while len(stack) > 1:
        last = stack.pop()
        last.end = len(text)
        _mark(stack[-1], last)
    return top.members


def _mark(around: _Value, value: _Value) -> None:
    if value.has_records or (around.bracket == "[" and value.bracket == "{"):
        around.has_records = True


@dataclass(frozen=True)
class _Step:
    """A value to be written and what it leans on; or where one that was opened by a unit closes."""

    value: _Value | None
    links: tuple[Link, ...] = ()
    close: int = 0
    opening: int = 0


class _Writer:
    """Goes through the values in the order of the text."""

    def __init__(self, text: str, max_characters: int) -> None:
        self.text = text
        self.max_characters = max_characters
        self.units: list[Unit] = []
        self.position = 0

    def write(self, values: list[_Value]) -> None:
        # values that are still to be written, each with what it leans on; or what closes, with its opening unit
        waiting: list[_Step] = [_Step(value) for value in reversed(values)]
        is_one = len(values) == 1 and values[0].bracket == "{"
        while waiting:
            step = waiting.pop()
            if step.value is None:
                self._close(step.close, step.opening)
            elif self._is_record(step.value) and not (is_one and step.value is values[0] and step.value.members):
                self._add(step.value.begin, "record", step.links)
            else:
                waiting += self._open(step.value, step.links)
        if not self.units and self.text:
            self.units.append(Unit(0, 0, "record"))
        self._fill(len(self.text))
        self._cut_long()

    def _is_record(self, value: _Value) -> bool:
        return not value.members or not (value.has_records or value.end - value.begin > self.max_characters)

    def _open(self, value: _Value, links: tuple[Link, ...]) -> list[_Step]:
        here = len(self.units)
        self._add(value.begin, "fence", links, competes=False)
        inside: list[_Step] = []
        # the scalar members before the first that is opened, whose places are known
        scalars: list[Link] = []
        is_known = True
        for number, member in enumerate(value.members):
            own: list[Link] = [("header", here)]
            if not self._is_record(member):
                own += scalars
                is_known = False
            elif is_known and not member.members and value.bracket == "{" and len(scalars) < CONTEXT:
                scalars.append(("parent", here + 1 + number))
            inside.append(_Step(member, tuple(own)))
        if value.close is not None:
            inside.append(_Step(None, close=value.close, opening=here))
        return inside[::-1]

    def _close(self, at: int, opening: int) -> None:
        here = len(self.units)
        self._add(at, "fence", (("header", opening),), competes=False)
        self.units[opening] = self.units[opening].linked("header", here)._replace(introduces=(opening + 1, here))

    def _add(self, begin: int, kind: Kind, links: tuple[Link, ...], competes: bool = True) -> None:
        line = self.text.rfind("\n", self.position, begin) + 1
        self._fill(line if line and not self.text[line:begin].strip() else begin)
        self.units.append(Unit(self.position, self.position, kind, links, competes=competes))

    def _fill(self, to: int) -> None:
        """The last unit ends there."""
        if self.units and to > self.position:
            self.units[-1] = self.units[-1]._replace(end=to)
            self.position = to

    def _cut_long(self) -> None:
        """What is still too long is cut at its lines; the later pieces lean on the first."""
        pieces = [self._ends(unit) for unit in self.units]
        place = list(itertools.accumulate(map(len, pieces), initial=0))
        cut: list[Unit] = []
        for number, (unit, ends) in enumerate(zip(self.units, pieces, strict=True)):
            links = tuple((kind, place[index]) for kind, index in unit.relations)
            introduces = unit.introduces and (place[unit.introduces[0]], place[unit.introduces[1]])
            start = unit.start
            for end in ends:
                piece = unit._replace(start=start, end=end, relations=links, introduces=introduces)
                cut.append(piece if start == unit.start else piece.linked("parent", place[number]))
                start = end
        self.units = cut

    def _ends(self, unit: Unit) -> list[int]:
        if unit.end - unit.start <= self.max_characters:
            return [unit.end]
        return cut_long(self.text, unit.start, unit.end, self.max_characters, by_line=True)
