"""Words of a report: what may stand in a page, numbers for people, windows of long texts, and what differs."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import zip_longest

from prunekernels.io.escape import html_text, one_line

# characters that the page shows of a text, and how many of them stand before the first difference
WINDOW, BEFORE = 420, 120


def name(value: object, most: int = 200) -> str:
    """What a file calls something, for a page, whatever it is: in one line of at most `most` characters."""
    return html_text(one_line(str(value), most))


def figure(value: object) -> str:
    """A number out of a file, thousands apart; what should be one and is not is shown as a name."""
    return f"{value:,}" if isinstance(value, int | float) else name(value)


def number(value: float) -> str:
    """Four significant digits, thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def share(part: float, whole: float) -> str:
    """Per cent with one digit; nothing of nothing is 0 %."""
    return f"{100 * part / whole if whole else 0:.1f} %"


def beginning(text: str) -> str:
    """The first characters of `text`, for a page."""
    return _dots(text, 0, html_text(_window(text, 0)))


def compared(one: str, two: str) -> tuple[str, str]:
    """Windows of both texts that hold their first difference, for a page, with the words that differ marked."""
    same = next((place for place, (a, b) in enumerate(zip_longest(one, two)) if a != b), None)
    if same is None:
        return beginning(one), beginning(two)
    start = max(0, same - BEFORE) if same > WINDOW - BEFORE else 0
    left, right = (re.findall(r"\s+|\S+", _window(text, start)) for text in (one, two))
    marked: tuple[list[str], list[str]] = ([], [])
    for kind, *ends in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for side, words, span in zip(marked, (left, right), (ends[:2], ends[2:]), strict=True):
            part = html_text("".join(words[span[0] : span[1]]))
            side.append(part if kind == "equal" or not part.strip() else f"<mark>{part}</mark>")
    found = [_dots(text, start, "".join(side)) for text, side in zip((one, two), marked, strict=True)]
    return found[0], found[1]


def _window(text: str, start: int) -> str:
    """At most `WINDOW` characters from `start`; not through a word, unless it is very long."""
    part = text[start : start + WINDOW]
    space = part.rfind(" ")
    return part[:space] if len(text) > start + WINDOW and space > WINDOW - BEFORE else part


def _dots(text: str, start: int, page: str) -> str:
    """`page` with dots where the text goes on."""
    return ("… " if start else "") + page + (" …" if len(text) > start + WINDOW else "")
