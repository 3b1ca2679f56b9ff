"""Long text: what has no stops, or too few of them, is cut at white space.

Scripts that write no spaces between words (Thai, Lao, Khmer, Burmese) set one between clauses and sentences:
there a piece ends at the first space after `CLAUSE_CHARACTERS`, or after `SHORT_CHARACTERS` where a Thai word
follows that often begins a sentence. Any other stretch longer than the limit is
cut at the last white space of a window's second half, else behind a comma, else anywhere but inside a
character that a reader sees as one.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

CLAUSE_CHARACTERS = 80
SHORT_CHARACTERS = 12

LETTER = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"
SPACELESS = re.compile(f"[{LETTER}]")
SPACELESS_GAP = re.compile(rf"(?<=[{LETTER}\d])\s++(?=[{LETTER}])")
# I, he, she, we, you, it, they; now, today, later, therefore, however, besides, but, when, after
THAI_STARTER = re.compile(
    "ฉัน|ผม|ดิฉัน|เขา|เธอ|เรา|คุณ|มัน|พวก|ปัจจุบัน|วันนี้|เมื่อ|ต่อมา|ดังนั้น|อย่างไรก็ตาม|นอกจาก|แต่|หลังจาก|จากนั้น|ขณะ|แล้ว"
)
SPACE = re.compile(r"(?s:.*)\s")
LINE = re.compile(r"(?s:.*)\n")
COMMA = re.compile(r"(?s:.*)[,;:、，；：،؛]")
SPACES = re.compile(r"\s*+")


def has_spaceless_script(text: str, start: int, end: int) -> bool:
    """Whether any letter of text[start:end] belongs to a script that writes no spaces between words."""
    return not text.isascii() and SPACELESS.search(text, start, end) is not None


def cut_long(text: str, start: int, end: int, limit: int, by_line: bool = False) -> list[int]:
    """Where the pieces of text[start:end] end, in order: up to `limit` characters each, then white space."""
    ends: list[int] = []
    for stop in clauses(text, start, [end]):
        ends += _bounded(text, start, stop, limit, by_line)
        start = stop
    return ends


def clauses(text: str, start: int, stops: Sequence[int]) -> list[int]:
    """`stops`, which end one stretch after another from `start` on, and the clauses' ends between them."""
    ends: list[int] = []
    for stop in stops:
        for gap in SPACELESS_GAP.finditer(text, start, stop):
            length = gap.start() - start
            is_start = length >= SHORT_CHARACTERS and THAI_STARTER.match(text, gap.end()) is not None
            if is_start or length >= CLAUSE_CHARACTERS:
                start = gap.end()
                ends.append(start)
        ends.append(stop)
        start = stop
    return ends


def is_inside_character(text: str, position: int) -> bool:
    """Whether the characters on both sides of `position` make one: combining marks, joiners, CR LF, flags."""
    if not 0 < position < len(text):
        return False
    before, after = text[position - 1], text[position]
    if after == "\n":
        return before == "\r"
    if after.isascii() or before in "\r\n":
        return before == "\u200d"
    if before == "\u200d" or unicodedata.category(after)[0] == "M":
        return True
    code = ord(after)
    return (
        code in (0x200C, 0x200D)
        or 0x1F3FB <= code <= 0x1F3FF
        or 0xE0020 <= code <= 0xE007F
        or 0x1160 <= code <= 0x11FF
        or (0x1F1E6 <= code <= 0x1F1FF and 0x1F1E6 <= ord(before) <= 0x1F1FF)
    )


def _bounded(text: str, start: int, end: int, limit: int, by_line: bool) -> list[int]:
    ends: list[int] = []
    stop = start + len(text[start:end].rstrip())
    first = skip_space(text, start)
    while stop - first > limit:
        # pieces of about one size rather than full ones and a rest
        size = math.ceil((stop - first) / math.ceil((stop - first) / limit))
        first = _place(text, first, size, by_line)
        ends.append(first)
    return [*ends, end]


def _place(text: str, first: int, size: int, by_line: bool) -> int:
    """The best place to cut in (first + size / 2, first + size], moved behind the white space that follows it."""
    low, high = first + size // 2, first + size
    for pattern in (LINE, SPACE) if by_line else (SPACE, COMMA):
        match = pattern.match(text, low, high)
        if match and not is_inside_character(text, skip_space(text, match.end())):
            return skip_space(text, match.end())
    for position in range(high, low, -1):
        if not is_inside_character(text, position) and not is_inside_character(text, skip_space(text, position)):
            return skip_space(text, position)
    return high


def skip_space(text: str, position: int) -> int:
    """The first place from `position` on that is no white space."""
    return SPACES.match(text, position).end()  # type: ignore[union-attr]
