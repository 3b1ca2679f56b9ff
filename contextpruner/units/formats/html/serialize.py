"""HTML out of HTML: the elements around what is kept, balanced, and nothing else.

A tag is kept if its element holds kept text, so that each closing tag has its opening one; an element that the source
never closes is closed where it ends, with the one around it or where HTML says that the next tag ends it. Scripts,
styles, comments, what no reader sees, and elements without kept text go. Attributes go, too, as they are most of a page
and a language model has no use for them (HtmlRAG, arXiv:2411.02959), but for where a link leads and the text in an
image's place (`attributes`); and with them what is nothing without, say an image that has no text. Only a bare "<" that
might open a tag now is spelled out.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from contextpruner.units.formats.html.attributes import image_text, link_target
from contextpruner.units.formats.html.tokens import Token, tokens
from contextpruner.units.formats.html.tree import Tree, build_tree

# what is shown by its tag alone
SHOWN = frozenset(("br", "hr", "wbr"))

BARE = re.compile(r"<(?=[a-zA-Z/!?]|\Z)")


class Kept(NamedTuple):
    """The characters [start, end) of the source, in a unit that is kept."""

    start: int
    end: int


def prune_html(source: str, kept: Iterable[tuple[int, int]]) -> str:
    """`source` without all that is not in `kept`, [start, end) each, in order and without overlap."""
    spans = [Kept(*span) for span in kept]
    edges = [0, *(edge for span in spans for edge in span)]
    if edges != sorted(edges) or edges[-1] > len(source):
        raise ValueError(f"want spans in order and within {len(source)} characters, got {spans[:4]}")
    read = list(tokens(source))
    tree = build_tree(read)
    shown = [list(part) for part in _shown(read, spans)]
    alive = _alive(read, tree, shown, source)
    return "".join(_pieces(source, read, tree, shown, alive))


def _shown(read: list[Token], spans: list[Kept]) -> Iterator[Iterator[Kept]]:
    """The kept parts of each token."""
    first = 0
    for token in read:
        while first < len(spans) and spans[first].end <= token.start:
            first += 1
        yield _overlaps(token, spans, first)


def _overlaps(token: Token, spans: list[Kept], first: int) -> Iterator[Kept]:
    while first < len(spans) and spans[first].start < token.end:
        span = spans[first]
        if span.start < span.end:
            yield Kept(max(span.start, token.start), min(span.end, token.end))
        first += 1


def _alive(read: list[Token], tree: Tree, shown: list[list[Kept]], source: str) -> set[int]:
    """The elements that hold kept text that a reader sees, or are kept and shown by their tag."""
    alive = {0}
    for token, inside, parts in zip(read, tree.inside, shown, strict=True):
        if tree.elements[inside].is_unseen:
            continue
        is_text = token.kind == "text" and any(source[part.start : part.end].strip() for part in parts)
        is_shown = token.name in SHOWN or (token.name == "img" and image_text(source, token))
        if is_text or (token.kind == "open" and is_shown and parts):
            while inside not in alive:
                alive.add(inside)
                inside = tree.elements[inside].parent
    return alive


def _pieces(source: str, read: list[Token], tree: Tree, shown: list[list[Kept]], alive: set[int]) -> Iterator[str]:
    for index, token in enumerate(read):
        yield from _closing(tree, index, alive)
        if tree.inside[index] not in alive:
            continue
        if token.kind == "text":
            yield from (BARE.sub("&lt;", source[part.start : part.end]) for part in shown[index])
        elif token.kind == "open":
            yield f"<{token.name}{_attributes(source, token)}>"
    yield from _closing(tree, len(read), alive)


def _attributes(source: str, token: Token) -> str:
    """What stays of the attributes of an opening tag."""
    named = {"a": ("href", link_target), "img": ("alt", image_text)}.get(token.name)
    value = named[1](source, token) if named else ""
    return f' {named[0]}="{html.escape(value)}"' if named and value else ""


def _closing(tree: Tree, index: int, alive: set[int]) -> Iterator[str]:
    return (f"</{tree.elements[element].name}>" for element in tree.ends.get(index, ()) if element in alive)
