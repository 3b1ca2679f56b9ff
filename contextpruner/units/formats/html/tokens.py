"""HTML as a stream of tokens: tags, text and what is neither, which together are the source.

What no reader sees is said here: comments, declarations, and what stands between the tags of `RAW` is a hidden token;
an element of `UNSEEN`, a dialog that is not open, and one with the attribute `hidden` or with a style of its own that
says display: none or visibility: hidden, is open but unseen, with all that is in it. A page's own html and body
are seen in any case, as they are hidden only until a script runs; so is what only a style sheet hides, what "find in
page" would find (hidden="until-found"), and what is hidden from a screen reader alone (aria-hidden).

Written for sources as they are found: nothing is an error. As in browsers, a comment, a tag, or a script that never
ends goes on to the end of the source, which may well be a page cut off; but a tag whose quotes never close ends at the
next ">", and so do all after it. No search that fails is made again, so that time is linear on any input.
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
RAW = names("script style noscript iframe noembed noframes xmp")
TEXT = names("title textarea")
# what is in these is markup, and not for readers: drawings, what a script may use, what is shown in place of a film
UNSEEN = names("svg template datalist audio video canvas object annotation annotation-xml")
VOID = names("area base br col embed hr img input link meta param source track wbr")

NAME = r"[a-zA-Z][^\s/>\x00]*+"
TAG = re.compile(rf"<(/?)({NAME})(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*>")
LOOSE_TAG = re.compile(rf"<(/?)({NAME})")
OPENS = re.compile(r"<[a-zA-Z!?/]")
MAY_HIDE = re.compile(r"hidden|collapse|display|dialog", re.IGNORECASE)
ATTRIBUTE = re.compile(r"([^\s=/>\"']++)(?:\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s>\"']++))?")
HIDING_STYLE = re.compile(
    r"(?:^|;)\s*+(?:display\s*+:\s*+none|visibility\s*+:\s*+(?:hidden|collapse))\b", re.IGNORECASE
)


class Token(NamedTuple):
    """The characters [start, end) of a source; `name` is a tag's, in lower case.

    An element that an unseen tag opens is for no reader.
    """

    kind: TokenKind
    start: int
    end: int
    name: str = ""
    is_unseen: bool = False


def tokens(source: str) -> Iterator[Token]:
    """The tokens of `source`, which partition it."""
    return _Reader(source).read()


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        # a quote that does not close does not close further on
        self.is_quoted = True

    def read(self) -> Iterator[Token]:
        source, at, text_from = self.source, 0, 0
        while (opening := OPENS.search(source, at)) is not None:
            token = self._tag(opening.start())
            if token.start > text_from:
                yield Token("text", text_from, token.start)
            yield token
            at = text_from = token.end
            if token.kind == "open" and token.name in RAW | TEXT:
                closing = re.compile(rf"</{token.name}(?=[\s/>])", re.IGNORECASE).search(source, at)
                stop = len(source) if closing is None else closing.start()
                if stop > at:
                    yield Token("text" if token.name in TEXT else "hidden", at, stop)
                at = text_from = stop
        if text_from < len(source):
            yield Token("text", text_from, len(source))

    def _tag(self, start: int) -> Token:
        """The tag or comment at `start`; one that never ends goes up to the end of the source."""
        source = self.source
        if source.startswith("<!--", start):
            # "<!-->" is a whole comment
            return Token("hidden", start, self._behind("-->", start + 2))
        tag = TAG.match(source, start) if self.is_quoted else None
        if tag is not None:
            return self._token(tag, tag.end())
        loose, end = LOOSE_TAG.match(source, start), self._behind(">", start)
        if loose is None:
            return Token("hidden", start, end)
        self.is_quoted = False
        return self._token(loose, end)

    def _behind(self, what: str, at: int) -> int:
        found = self.source.find(what, at)
        return len(self.source) if found < 0 else found + len(what)

    def _token(self, tag: re.Match[str], end: int) -> Token:
        start, name = tag.start(), tag[2].lower()
        if tag[1]:
            return Token("close", start, end, name)
        is_unseen = name in UNSEEN or (
            MAY_HIDE.search(self.source, start, end) is not None and _is_hidden(name, self.source[tag.end(2) : end])
        )
        if (is_unseen or name in RAW | TEXT) and self.source[end - 2] == "/":
            # it holds nothing, and hides nothing behind it
            return Token("hidden", start, end)
        return Token("open", start, end, name, is_unseen)


def _is_hidden(name: str, attributes: str) -> bool:
    """Whether the element `name` is hidden by its own `attributes`; of two of one name the first counts."""
    held: dict[str, str] = {}
    for key, value in ATTRIBUTE.findall(attributes):
        held.setdefault(key.lower(), value.strip("\"'"))
    if name in ("html", "body"):
        return False
    if name == "dialog" and "open" not in held:
        return True
    return held.get("hidden", "until-found").lower() != "until-found" or bool(
        HIDING_STYLE.search(held.get("style", ""))
    )
