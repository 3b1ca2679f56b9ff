"""Which elements of an HTML source contain which, from its tokens alone.

An element opens with a tag and closes with its own closing tag, with that of one around it, or where HTML says that
the next tag ends it (a list item another, a paragraph any block). A closing tag without an open element is
nobody's. No tag is ever looked at twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from contextpruner.html_tokens import VOID, Token, names

BLOCKS = names(
    "html head body title article section nav aside header footer main address div p pre blockquote center figure "
    "figcaption h1 h2 h3 h4 h5 h6 ul ol dl li dt dd menu dir hr table caption thead tbody tfoot tr td th form "
    "fieldset legend details summary dialog option select textarea button br"
)
# an open element of the first kind ends where one of the second begins
ENDS = {
    "li": {"li"},
    "dt": {"dt", "dd"},
    "dd": {"dt", "dd"},
    "tr": {"tr", "tbody", "thead", "tfoot"},
    "td": {"td", "th", "tr", "tbody", "thead", "tfoot"},
    "th": {"td", "th", "tr", "tbody", "thead", "tfoot"},
    "option": {"option"},
    "p": BLOCKS - {"br", "html", "head", "body", "title", "button"},
    "head": {"body"},
}

# a path is not longer, however deep the elements go
PATH_NAMES = 40


class Element(NamedTuple):
    """A tag's name, the element around it, and the names from the outermost element down to it."""

    name: str
    parent: int
    path: str
    n_names: int


@dataclass
class Tree:
    """Elements in the order in which they open; element 0 is the document."""

    elements: list[Element] = field(default_factory=lambda: [Element("", 0, "", 0)])
    # the innermost element at each token; a tag is inside the element that it opens or closes
    inside: list[int] = field(default_factory=list)
    # the tokens that close an element
    closes: set[int] = field(default_factory=set)


def build(tokens: Iterable[Token]) -> Tree:
    """The tree of `tokens`."""
    tree = Tree()
    open_ones = [0]
    counts: Counter[str] = Counter()
    for index, token in enumerate(tokens):
        if token.kind == "open":
            while len(open_ones) > 1 and token.name in ENDS.get(tree.elements[open_ones[-1]].name, ()):
                counts[tree.elements[open_ones.pop()].name] -= 1
            around = tree.elements[open_ones[-1]]
            is_deep = around.n_names >= PATH_NAMES
            path = around.path if is_deep else f"{around.path}/{token.name}".lstrip("/")
            tree.elements.append(Element(token.name, open_ones[-1], path, around.n_names + (not is_deep)))
            tree.inside.append(len(tree.elements) - 1)
            if token.name not in VOID:
                open_ones.append(len(tree.elements) - 1)
                counts[token.name] += 1
            continue
        if token.kind == "close" and counts[token.name]:
            while True:
                last = open_ones.pop()
                counts[tree.elements[last].name] -= 1
                if tree.elements[last].name == token.name:
                    break
            tree.closes.add(index)
            tree.inside.append(last)
            continue
        tree.inside.append(open_ones[-1])
    return tree
