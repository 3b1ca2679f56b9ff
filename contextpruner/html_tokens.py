"""HTML as a stream of tokens: tags, text and everything that no reader sees, which together are the source.

Written for sources as they are found: nothing is an error. A tag whose quotes never close ends at the next ">",
and so do all after it; a comment or a script that never closes is its first tag alone; a "<" that opens nothing is
text. Every search that fails is not made again, so that time is linear on any input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

TokenKind = Literal["text", "open", "close", "hidden"]


def names(text: str) -> frozenset[str]:
    """The names of tags in `text`."""
    return frozenset(text.split())


# what stands between these tags is not markup, and not for readers but in a title or a text area
RAW = names("script style template noscript iframe noembed noframes xmp svg math")
TEXT = names("title textarea")
VOID = names("area base br col embed hr img input link meta param source track wbr")

NAME = r"[a-zA-Z][^\s/>\x00]*+"
TAG = re.compile(rf"<(/?)({NAME})(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*>")
LOOSE_TAG = re.compile(rf"<(/?)({NAME})")
OPENS = re.compile(r"<(?:[a-zA-Z!?]|/[a-zA-Z])")


class Token(NamedTuple):
    """The characters [start, end) of a source; `name` is a tag's, in lower case."""

    kind: TokenKind
    start: int
    end: int
    name: str = ""


def tokens(source: str) -> Iterator[Token]:
    """The tokens of `source`, which partition it."""
    return _Reader(source).read()


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        # what was looked for in vain is not there further on
        self.missing: set[str] = set()

    def read(self) -> Iterator[Token]:
        source, at, text_from = self.source, 0, 0
        while (opening := OPENS.search(source, at)) is not None:
            start = opening.start()
            token = self._tag(start)
            if token is None:
                break
            if start > text_from:
                yield Token("text", text_from, start)
            yield token
            at = text_from = token.end
            if token.kind == "open" and token.name in RAW | TEXT and source[at - 2 : at] != "/>":
                stop = self._closing(token.name, at)
                if stop > at:
                    yield Token("text" if token.name in TEXT else "hidden", at, stop)
                at = text_from = stop
        if text_from < len(source):
            yield Token("text", text_from, len(source))

    def _tag(self, start: int) -> Token | None:
        """The tag or comment at `start`; None where no ">" follows at all."""
        source = self.source
        if source.startswith("<!--", start) and (stop := self._find("-->", start + 4)) >= 0:
            return Token("hidden", start, stop + 3)
        tag = None if "quotes" in self.missing else TAG.match(source, start)
        if tag is not None:
            return Token("close" if tag[1] else "open", start, tag.end(), tag[2].lower())
        stop = self._find(">", start)
        if stop < 0:
            return None
        loose = LOOSE_TAG.match(source, start)
        if loose is None:
            return Token("hidden", start, stop + 1)
        self.missing.add("quotes")
        return Token("close" if loose[1] else "open", start, stop + 1, loose[2].lower())

    def _closing(self, name: str, at: int) -> int:
        """Where the closing tag of `name` begins, or `at` where there is none."""
        if name in self.missing:
            return at
        closing = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(self.source, at)
        if closing is None:
            self.missing.add(name)
            return at
        return closing.start()

    def _find(self, what: str, at: int) -> int:
        found = -1 if what in self.missing else self.source.find(what, at)
        if found < 0:
            self.missing.add(what)
        return found
