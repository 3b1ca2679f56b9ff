"""Chats and transcripts: who speaks, a colon, what is said. A turn is one unit, with all lines up to the next."""

from __future__ import annotations

import re

from contextpruner.units.blocks import Block

# a time in front, in brackets or before a dash or comma, then a name of a few words, perhaps with the time behind it in
# brackets, or one in angle brackets
TIME = (
    r"(?:\[?\(?(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?[ T])?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?(?:\s?[ap]\.?m\.?)?"
    r"[\])]?[\s,–-]+)"
)
NAME = (
    r"(?:<[^<>\n]{1,40}>|\*{0,2}[^\W\d_][\w.'’-]*(?:\s[\w.'’()#-]+){0,3}\s?\*{0,2}"
    r"(?:[\[(]\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]\.?m\.?)?[\])]\s?)?[:：]\*{0,2}(?=\s))"
)
TURN = re.compile(rf"{TIME}?(?P<name>{NAME})", re.IGNORECASE)


def chat_blocks(text: str) -> list[Block]:
    """The turns of `text`; what stands before the first is one, too."""
    begun: list[int] = []
    position = 0
    for line in text.splitlines(keepends=True):
        if TURN.match(line.lstrip("\ufeff")):
            begun.append(position)
        position += len(line)
    starts = [0, *(start for start in begun if start), len(text)]
    return [Block(start, end, "turn") for start, end in zip(starts, starts[1:], strict=False) if start < end]
