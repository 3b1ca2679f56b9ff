"""Line breaks inside a paragraph: which of them end something, and which only wrap a line.

A line is wrapped because the next word would not fit. So a break ends something (a line of a menu, a title, a
post that has no stops) where the next word would have fitted with room to spare: line and word together take
at most `FULL` of the paragraph's longest line, or `NARROW` characters where that is more, or `UNSTOPPED` characters
in a paragraph without a single stop. Where the next
line begins in lower case in a paragraph that does not, or this one ends in a comma or the like, it goes on. What is
quoted (> ) has no breaks of its own.
"""

from __future__ import annotations

import re

# of the longest line; proportional type fills lines unevenly
FULL = 0.75

# nobody wraps lines at fewer characters
NARROW = 40
UNSTOPPED = 60

LINES = re.compile(r"[^\n]*+(?:\n|$)")
STOP = re.compile(r"[.!?…]\s|[。！？]")
GOES_ON = tuple(",;-–—(&/、，；")
SPACE_OR_CJK = re.compile(r"\s|(?<=[\u2e80-\ud7ff\uf900-\uffef])|$")


def line_ends(text: str, start: int, end: int) -> list[int]:
    """Where the stretches of text[start:end] end that hold no break but of wrapped lines; the last is `end`."""
    first = text.find("\n", start, end)
    # what is quoted was wrapped at any width
    if first < 0 or text.startswith(">", start) or text[first:end].isspace():
        return [end]
    lines = [match.span() for match in LINES.finditer(text, start, end) if match.end() > match.start()]
    bare = [text[begin:stop].strip() for begin, stop in lines]
    width = max(FULL * max(map(len, bare)), NARROW if STOP.search(text, start, end) else UNSTOPPED)
    begins_lower = bare[0][:1].islower()
    pairs = zip(lines, bare, bare[1:], strict=False)
    ends = [stop for (_, stop), line, following in pairs if is_deliberate(line, following, width, begins_lower)]
    return [*ends, end]


def is_deliberate(line: str, following: str, width: float = NARROW, begins_lower: bool = False) -> bool:
    """Whether `line` ends before it has to; both without white space around them."""
    # a line of white space ends nothing by itself: it is the head of a text, or holds separators of other kinds
    if not line or not following or line.endswith(GOES_ON) or (following[0].islower() and not begins_lower):
        return False
    word = SPACE_OR_CJK.search(following, 1)
    return len(line) + 1 + (word.start() if word else 0) <= width
