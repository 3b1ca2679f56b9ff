"""Titles in plain text: a short line alone above a paragraph heads it.

It stands between blank lines or at the head of the text, begins with no small letter, has at most `WORDS` words and
`CHARACTERS` characters, no stop, and no comma or colon at its end; behind it stands a paragraph of sentences, or a
lead-in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from contextpruner.units.blocks import Block

CHARACTERS = 80
WORDS = 10
LEVEL = 9

STOPPED = re.compile(r"[.!?…]\s|[.!?…]$|[。！？।؟]")
LETTER = re.compile(r"[^\W\d_]")
# what is looked at of the paragraph below
HEAD = 400


def with_titles(text: str, blocks: Sequence[Block]) -> Iterator[Block]:
    """`blocks` of `text`, with the titles among them as headings."""
    is_alone = True
    for block, following in zip(blocks, (*blocks[1:], None), strict=True):
        ends_blank = _ends_blank(text, block)
        is_above = following is not None and following.kind == "prose" and ends_blank and block.kind == "prose"
        if is_above and is_alone and following is not None and _is_title(text, block) and _is_prose(text, following):
            block = block._replace(kind="heading", level=LEVEL)
        yield block
        is_alone = ends_blank


def _ends_blank(text: str, block: Block) -> bool:
    end = text[max(block.start, block.end - 80) : block.end]
    return end[len(end.rstrip()) :].count("\n") > 1


def _is_title(text: str, block: Block) -> bool:
    if block.level or block.end - block.start > 2 * CHARACTERS:
        return False
    bare = text[block.start : block.end].strip()
    if not bare or len(bare) > CHARACTERS or "\n" in bare or len(bare.split()) > WORDS or bare[0] == ">":
        return False
    if bare[0].islower() or bare[-1] in ",:;：、，" or STOPPED.search(bare.rstrip("?？؟")):
        return False
    return LETTER.search(bare) is not None


def _is_prose(text: str, block: Block) -> bool:
    head = text[block.start : min(block.end, block.start + HEAD)].rstrip()
    return STOPPED.search(head) is not None or head.endswith((":", "："))
