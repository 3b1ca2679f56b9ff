"""Titles in plain text: a short line alone above a paragraph heads it.

It stands between blank lines or at the head of the text, begins with no small letter, has at most `WORDS` words and
`CHARACTERS` characters, no stop, and no comma or colon at its end; behind it stands a paragraph of sentences, or a
lead-in. A line in capitals may stand right above its paragraph, and so may one with a number, "2. Results" or
"2.1 Data", where there are several and nothing leads up to them: each has a text of its own.
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

# of a line with a number, and of one with a number in parts
NUMBER_LEVELS = (8, LEVEL)
NUMBERED = re.compile(
    r"^ {0,3}(?:§ ?)?(\d{1,2}(?:\.\d{1,2}){0,3})\.?[ \t]+([^\W\da-zß-öø-ÿ_][^\n]{0,80})(?:\n|\Z)", re.MULTILINE
)

STOPPED = re.compile(r"[.!?…]\s|[.!?…]$|[。！？।؟]")
SHOWN = re.compile(r"\S")
LETTER = re.compile(r"[^\W\d_]")
# what is looked at of the paragraph below
HEAD = 400


def with_titles(text: str, blocks: Sequence[Block]) -> Iterator[Block]:
    """`blocks` of `text`, with the titles among them as headings."""
    is_alone = True
    blocks = [part for block in blocks for part in _without_capitals(text, block)]
    blocks = _with_numbered(text, blocks)
    for block, following in zip(blocks, (*blocks[1:], None), strict=True):
        if block.kind == "heading" and block.level in NUMBER_LEVELS:
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


def _with_numbered(text: str, blocks: Sequence[Block]) -> list[Block]:
    """`blocks`, with lines of theirs that are titles with a number as blocks; as they are where there is only one."""
    parts: list[Block] = []
    n_titles = 0
    for block, following in zip(blocks, (*blocks[1:], None), strict=True):
        start = block.start
        if block.kind in ("prose", "list_item") and block.level <= 1:
            for title in _numbered_titles(text, block, following):
                if not n_titles and _leads_up(text, title.start):
                    return list(blocks)
                n_titles += 1
                parts += [block._replace(start=start, end=title.start)] if start < title.start else []
                parts.append(title)
                start = title.end
        is_whole = start == block.start
        parts += [block._replace(start=start) if is_whole else Block(start, block.end, "prose")] * (start < block.end)
    return parts if n_titles > 1 else list(blocks)


def _numbered_titles(text: str, block: Block, following: Block | None) -> Iterator[Block]:
    for match in NUMBERED.finditer(text, block.start, block.end):
        end = match.end()
        below = Block(end, block.end, "prose")
        if SHOWN.search(text, end, block.end) is None:
            if following is None or following.kind != "prose" or following.level:
                return
            end, below = block.end, following
        head = text[below.start : below.start + HEAD].lstrip()
        before = text[max(match.start() - CHARACTERS, 0) : match.start()].rstrip()
        is_set_off = match.start() == block.start or STOPPED.search(before[-1:]) is not None
        is_title = _is_title(text, Block(match.start(2), match.end(), "prose"))
        if is_set_off and is_title and not head[:1].islower() and not NUMBERED.match(head) and _is_prose(text, below):
            yield Block(match.start(), end, "heading", NUMBER_LEVELS["." in match[1]])


def _leads_up(text: str, start: int) -> bool:
    return text[max(start - CHARACTERS, 0) : start].rstrip().endswith((":", "："))


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
