"""Subtitles, SRT and WebVTT: a cue, its number, its times and its lines, is one unit; a header or note is a rule."""

from __future__ import annotations

import re

from contextpruner.units.blocks import Block, BlockKind

# the times of a cue, and the number or name on the line before them
TIMES = re.compile(r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s+-->\s")
NOTE = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)\b")


def subtitle_blocks(text: str) -> list[Block]:
    """The cues of `text`, which partition it with what stands between them."""
    begun: list[tuple[int, BlockKind]] = []
    position, before = 0, 0
    is_blank, was_blank = True, True
    for line in text.splitlines(keepends=True):
        bare = line.strip().lstrip("\ufeff")
        if TIMES.match(bare):
            # the line right before belongs to the cue, unless that stands in another one
            start = before if not is_blank and was_blank else position
            if begun and begun[-1][0] == start:
                begun.pop()
            begun.append((start, "cue"))
        elif is_blank and NOTE.match(bare) or is_blank and bare and not begun:
            begun.append((position, "rule"))
        before, was_blank, is_blank = position, is_blank, not bare
        position += len(line)
    starts = [0, *(start for start, _ in begun[1:]), len(text)]
    kinds = [kind for _, kind in begun] or ["cue"]
    edges = zip(starts, starts[1:], kinds, strict=False)
    return [Block(start, end, kind) for start, end, kind in edges if start < end]
