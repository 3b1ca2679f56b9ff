"""HTML as a stream of tokens: tags, text and what is neither, which together are the source.

What no reader sees is said here: comments, declarations, and what stands between the tags of `RAW` is a hidden token;
an element of `UNSEEN`, a dialog that is not open, and one with the attribute `hidden` or with a style of its own that
says display: none or visibility: hidden, is open but unseen, with all that is in it. A page's own html and body
are seen in any case, as they are hidden only until a script runs; so is what only a style sheet hides, what "find in
page" would find (hidden="until-found"), and what is hidden from a screen reader alone (aria-hidden).

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
RAW = names("script style noscript iframe noembed noframes xmp")
TEXT = names("title textarea")
# what is in these is markup, and not for readers: drawings, what a script may use, what is shown in place of a film
UNSEEN = names("svg template datalist audio video canvas object annotation annotation-xml")
VOID = names("area base br col embed hr img input link meta param source track wbr")

NAME = r"[a-zA-Z][^\s/>\x00]*+"
TAG = re.compile(rf"<(/?)({NAME})(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*>")
LOOSE_TAG = re.compile(rf"<(/?)({NAME})")
OPENS = re.compile(r"<(?:[a-zA-Z!?]|/[a-zA-Z])")
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
            at = text_from = token.end
            if token.kind == "open" and token.name in RAW | TEXT:
                stop = self._closing(token.name, at) if source[at - 2] != "/" else -1
                # without its closing tag it is no element
                yield token if stop >= 0 else Token("hidden", start, at)
                if stop > at:
                    yield Token("text" if token.name in TEXT else "hidden", at, stop)
                at = text_from = max(at, stop)
            else:
                yield token
        if text_from < len(source):
            yield Token("text", text_from, len(source))

    def _tag(self, start: int) -> Token | None:
        """The tag or comment at `start`; None where no ">" follows at all."""
        source = self.source
        if source.startswith("<!--", start) and (stop := self._find("-->", start + 4)) >= 0:
            return Token("hidden", start, stop + 3)
        tag = None if "quotes" in self.missing else TAG.match(source, start)
        if tag is not None:
            return self._token(tag, tag.end())
        stop = self._find(">", start)
        if stop < 0:
            return None
        loose = LOOSE_TAG.match(source, start)
        if loose is None:
            return Token("hidden", start, stop + 1)
        self.missing.add("quotes")
        return self._token(loose, stop + 1)

    def _token(self, tag: re.Match[str], end: int) -> Token:
        start, name = tag.start(), tag[2].lower()
        if tag[1]:
            return Token("close", start, end, name)
        is_unseen = name in UNSEEN or (
            MAY_HIDE.search(self.source, start, end) is not None and _is_hidden(name, self.source[tag.end(2) : end])
        )
        if is_unseen and self.source[end - 2] == "/":
            # it holds nothing, and hides nothing behind it
            return Token("hidden", start, end)
        return Token("open", start, end, name, is_unseen)

    def _closing(self, name: str, at: int) -> int:
        """Where the closing tag of `name` begins, -1 where there is none."""
        if name in self.missing:
            return -1
        closing = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(self.source, at)
        if closing is None:
            self.missing.add(name)
            return -1
        return closing.start()

    def _find(self, what: str, at: int) -> int:
        found = -1 if what in self.missing else self.source.find(what, at)
        if found < 0:
            self.missing.add(what)
        return found


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
