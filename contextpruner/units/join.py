"""Joining what is kept: the kept texts as they are, each on a line of its own if it began one.

White space belongs to the unit before it. Where the last unit of a line or a paragraph is dropped, its line breaks
stay between its kept neighbours, or a heading would run on from the sentence before it. As many stay as stood at the
widest gap between the two; none before the first kept text. All that comes out is taken from the text, in its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def join_kept(texts: Iterable[str], kept: Iterable[bool]) -> str:
    """The kept ones of `texts`, which follow each other in a document."""
    return "".join(breaks + text for breaks, text, is_kept in with_line_breaks(texts, kept) if is_kept)


def with_line_breaks(texts: Iterable[str], kept: Iterable[bool]) -> Iterator[tuple[str, str, bool]]:
    """For each text the line breaks that stay before it if it is kept, itself, and whether it is kept."""
    # breaks at the end of the kept text before, and those of the dropped ones behind it
    standing: int | None = None
    owed: list[str] = []
    for text, is_kept in zip(texts, kept, strict=True):
        if is_kept and text:
            yield "" if standing is None else "".join(owed[standing:]), text, True
            standing, owed = len(_breaks(text)), []
        else:
            owed = max(owed, _breaks(text), key=len)
            yield "", text, is_kept


def _breaks(text: str) -> list[str]:
    """The lines of white space that `text` ends with, each with its break."""
    end = text[len(text.rstrip()) :]
    lines = end.splitlines(keepends=True)
    # what stands behind the last break is the beginning of a line
    return lines if not lines or lines[-1].splitlines() != [lines[-1]] else lines[:-1]
