"""Titles in plain text: a short line alone above a paragraph heads it.

It stands between blank lines or at the head of the text, begins with no small letter, has at most `WORDS` words and
`CHARACTERS` characters, no stop, and no comma or colon at its end; behind it stands a paragraph of sentences, or a
lead-in. A line in capitals may stand right above its paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from contextpruner.units.blocks import Block

CHARACTERS = 80
WORDS = 10
LEVEL = 9
# of a line in capitals
LETTERS = 4

STOPPED = re.compile(r"[.!?…]\s|[.!?…]$|[。！？।؟]")
LETTER = re.compile(r"[^\W\d_]")
# what is looked at of the paragraph below
HEAD = 400


def with_titles(text: str, blocks: Sequence[Block]) -> Iterator[Block]:
    """`blocks` of `text`, with the titles among them as headings."""
    is_alone = True
    blocks = [part for block in blocks for part in _without_capitals(text, block)]
    for block, following in zip(blocks, (*blocks[1:], None), strict=True):
        if block.kind == "heading" and block.level == LEVEL:
            yield block
            is_alone = True
            continue
        ends_blank = _ends_blank(text, block)
        is_above = following is not None and following.kind == "prose" and ends_blank and block.kind == "prose"
        if is_above and is_alone and following is not None and _is_title(text, block) and _is_prose(text, following):
            block = block._replace(kind="heading", level=LEVEL)
        yield block
        is_alone = ends_blank


def _without_capitals(text: str, block: Block) -> Iterator[Block]:
    """`block`, but for a first line in capitals, which heads the rest."""
    end = text.find("\n", block.start, min(block.end, block.start + 2 * CHARACTERS)) + 1
    if block.kind == "prose" and 0 < end < block.end:
        head, rest = block._replace(end=end), block._replace(start=end)
        line, following = text[block.start : end].strip(), text[end : end + 2 * CHARACTERS].strip()
        is_in_capitals = line.isupper() and sum(map(str.isalpha, line)) >= LETTERS
        is_set_off = not following[:1].islower() and not following.partition("\n")[0].isupper()
        if is_in_capitals and is_set_off and _is_title(text, head) and _is_prose(text, rest):
            yield head._replace(kind="heading", level=LEVEL)
            block = rest
    yield block


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
