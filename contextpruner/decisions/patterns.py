"""Patterns of text that is always kept: regular expressions in Python's syntax, searched in linear time.

A pattern becomes Glushkov's automaton (1961): one position for each character class, and which may follow which. All
positions that a text could have reached are one integer, so that a character costs a look-up whatever the pattern is;
no text makes the search backtrack. What no automaton of this kind can do is refused: references to groups, look-around,
possessive repeats, flags for a part of the pattern, anchors and word boundaries elsewhere than at its ends (or at the
ends of its alternatives), and a pattern that matches the empty text. Only whether something matches is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from re import _parser  # type: ignore[attr-defined]

WANTED = "protect wants a pattern that can be searched in linear time"
MOST_POSITIONS = 2000
# distinct sets of positions that are remembered
MOST_SETS = 1 << 14

FLAGS = re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.UNICODE
CATEGORIES = {
    f"CATEGORY_{negation}{name}": re.compile(letter.upper() if negation else letter)
    for name, letter in (("DIGIT", r"\d"), ("SPACE", r"\s"), ("WORD", r"\w"))
    for negation in ("", "NOT_")
}
WORD = re.compile(r"\w")

# whether a pattern may begin or end before this place of a text
Anchor = Callable[[str, int], bool]
# an operator and what it has, as the standard library parses them
Items = Sequence[tuple[object, object]]
# whether it matches nothing; where it may begin and end
Part = tuple[bool, int, int]


class Pattern:
    """A regular expression; raises ValueError for what is none, or cannot be searched in linear time."""

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise ValueError(f"protect wants patterns as strings, got {pattern!r}")
        try:
            parsed = _parser.parse(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"protect wants a regular expression, got {pattern!r}: {error}") from error
        flags = parsed.state.flags
        try:
            if flags & ~FLAGS:
                raise ValueError("no such flag")
            self.automata = [_Automaton(items, flags) for items in _alternatives(list(parsed))]
        except ValueError as error:
            raise ValueError(f"{WANTED}, got {pattern!r}: {error}") from None

    def found(self, text: str) -> bool:
        """Whether some part of `text` matches."""
        return any(automaton.found(text) for automaton in self.automata)


def _alternatives(items: list[tuple[object, object]]) -> Iterator[list[tuple[object, object]]]:
    """The alternatives of a pattern that is one choice, each with the anchors that stand around the choice."""
    begin, end = 0, len(items)
    while begin < end and str(items[begin][0]) == "AT":
        begin += 1
    while end > begin and str(items[end - 1][0]) == "AT":
        end -= 1
    if end - begin == 1 and str(items[begin][0]) == "BRANCH":
        for branch in items[begin][1][1]:  # type: ignore[index]
            yield from _alternatives([*items[:begin], *branch, *items[end:]])
    else:
        yield items


class _Automaton:
    def __init__(self, items: list[tuple[object, object]], flags: int) -> None:
        self.flags = flags
        self.classes: list[Callable[[str], bool]] = []
        self.follow: list[int] = []
        self.n_parts = 0
        self.begins: list[Anchor] = []
        self.ends: list[Anchor] = []
        while items and str(items[0][0]) == "AT":
            self.begins.append(self._anchor(str(items.pop(0)[1])))
        while items and str(items[-1][0]) == "AT":
            self.ends.append(self._anchor(str(items.pop()[1])))
        is_empty, self.first, self.last = self._sequence(items)
        if is_empty:
            raise ValueError("it matches the empty text")
        self.masks: dict[str, int] = {}
        self.following: dict[int, int] = {}

    def found(self, text: str) -> bool:
        reached = 0
        for place, character in enumerate(text):
            reachable = self._after(reached) if reached else 0
            if all(fits(text, place) for fits in self.begins):
                reachable |= self.first
            reached = reachable and reachable & self._mask(character)
            if reached & self.last and all(fits(text, place + 1) for fits in self.ends):
                return True
        return False

    def _after(self, reached: int) -> int:
        if (known := self.following.get(reached)) is not None:
            return known
        if len(self.following) >= MOST_SETS:
            self.following.clear()
        union = 0
        for position in _positions(reached):
            union |= self.follow[position]
        self.following[reached] = union
        return union

    def _mask(self, character: str) -> int:
        """The positions that `character` fits."""
        if character not in self.masks:
            fitting = (1 << at for at, fits in enumerate(self.classes) if fits(character))
            self.masks[character] = sum(fitting)
        return self.masks[character]

    def _sequence(self, items: list[tuple[object, object]]) -> Part:
        return self._joined(self._part(str(op), value) for op, value in items)

    def _joined(self, parts: Iterator[Part]) -> Part:
        empty, first, last = True, 0, 0
        for part_empty, begins, ends in parts:
            self._link(last, begins)
            first |= begins if empty else 0
            last = ends | (last if part_empty else 0)
            empty &= part_empty
        return empty, first, last

    def _part(self, op: str, value: object) -> Part:
        self._check_size(self.n_parts)
        self.n_parts += 1
        if op in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return self._position(self._class(op, value))
        if op == "BRANCH":
            empty, first, last = False, 0, 0
            for branch in value[1]:  # type: ignore[index]
                part_empty, begins, ends = self._sequence(list(branch))
                empty, first, last = empty or part_empty, first | begins, last | ends
            return empty, first, last
        if op == "SUBPATTERN":
            return self._group(*value)  # type: ignore[misc]
        if op in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(*value)  # type: ignore[misc]
        raise ValueError(f"it holds {op.lower().replace('_', ' ')}")

    def _group(self, number: int | None, flags_on: int, flags_off: int, inside: Items) -> Part:
        if flags_on or flags_off:
            raise ValueError("flags for a part of it")
        return self._sequence(list(inside))

    def _repeat(self, least: int, most: int, inside: Items) -> Part:
        is_endless = most == _parser.MAXREPEAT
        copies = max(least, 1) if is_endless else most
        self._check_size(copies)

        def parts() -> Iterator[Part]:
            for number in range(copies):
                empty, first, last = self._sequence(list(inside))
                if is_endless and number == copies - 1:
                    self._link(last, first)
                yield empty or number >= least, first, last

        return self._joined(parts())

    def _position(self, fits: Callable[[str], bool]) -> Part:
        self.classes.append(fits)
        self.follow.append(0)
        bit = 1 << (len(self.classes) - 1)
        return False, bit, bit

    def _check_size(self, size: int) -> None:
        if size >= MOST_POSITIONS:
            raise ValueError(f"it has more than {MOST_POSITIONS} parts with its repeats written out")

    def _link(self, ends: int, begins: int) -> None:
        for position in _positions(ends):
            self.follow[position] |= begins

    def _class(self, op: str, value: object) -> Callable[[str], bool]:
        if op == "ANY":
            return lambda character: character != "\n" or bool(self.flags & re.DOTALL)
        items = [(op, value)] if op != "IN" else [(str(name), item) for name, item in value]  # type: ignore[attr-defined]
        negated = items[0][0] in ("NEGATE", "NOT_LITERAL")
        wanted = items[1:] if items[0][0] == "NEGATE" else items
        return lambda character: any(self._fits(name, item, character) for name, item in wanted) != negated

    def _fits(self, op: str, value: object, character: str) -> bool:
        if op == "CATEGORY":
            return CATEGORIES[str(value)].match(character) is not None
        forms = _cases(character) if self.flags & re.IGNORECASE else {character}
        if op == "RANGE":
            return any(value[0] <= ord(form) <= value[1] for form in forms)  # type: ignore[index]
        letter = chr(value)  # type: ignore[arg-type]
        return letter in forms or (bool(self.flags & re.IGNORECASE) and bool(_cases(letter) & forms))

    def _anchor(self, name: str) -> Anchor:
        if name == "AT_BEGINNING" and self.flags & re.MULTILINE:
            return lambda text, at: at == 0 or text[at - 1] == "\n"
        if name in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
            return lambda text, at: at == 0
        if name == "AT_END" and self.flags & re.MULTILINE:
            return lambda text, at: at == len(text) or text[at] == "\n"
        if name == "AT_END":
            return lambda text, at: at == len(text) or (at == len(text) - 1 and text[at] == "\n")
        if name == "AT_END_STRING":
            return lambda text, at: at == len(text)
        return lambda text, at: _is_boundary(text, at) == (name == "AT_BOUNDARY")


def _cases(character: str) -> set[str]:
    return {form for form in (character, character.lower(), character.upper()) if len(form) == 1}


def _is_boundary(text: str, at: int) -> bool:
    sides = [bool(WORD.match(text[place])) for place in (at - 1, at) if 0 <= place < len(text)]
    return sum(sides) == 1


def _positions(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
