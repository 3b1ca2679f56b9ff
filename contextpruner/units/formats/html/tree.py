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

from contextpruner.units.formats.html.tokens import VOID, Token, names

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
    "p": BLOCKS - names("br html head body title button textarea select option legend"),
    "head": {"body"},
}

# these end a drawing that was never closed, unless it holds HTML
NOT_IN_SVG = names(
    "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu meta "
    "nobr ol p pre ruby s small span strong strike sub sup table tt u ul var"
)

# a path is not longer, however deep the elements go
PATH_NAMES = 40


class Element(NamedTuple):
    """A tag's name, the element around it, and the names from the outermost element down to it.

    Whether it is unseen, by its own tag or as the element around it is.
    """

    name: str
    parent: int
    path: str
    n_names: int
    is_unseen: bool = False


@dataclass
class Tree:
    """Elements in the order in which they open; element 0 is the document."""

    elements: list[Element] = field(default_factory=lambda: [Element("", 0, "", 0)])
    # the innermost element at each token; a tag is inside the element that it opens or closes
    inside: list[int] = field(default_factory=list)
    # the elements that end where a token begins, the innermost first; those that never do, where the source ends
    ends: dict[int, list[int]] = field(default_factory=dict)


def build_tree(tokens: Iterable[Token]) -> Tree:
    """The tree of `tokens`."""
    builder = _Builder()
    for index, token in enumerate(tokens):
        builder.read(index, token)
    tree = builder.tree
    tree.ends.setdefault(len(tree.inside), []).extend(builder.open[:0:-1])
    return tree


class _Builder:
    """Goes through the tokens once."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.open = [0]
        # how many elements of each name are open
        self.counts: Counter[str] = Counter()

    def read(self, index: int, token: Token) -> None:
        if token.kind == "open":
            self._open(index, token)
        elif token.kind == "close" and self.counts[token.name]:
            last = self._end(index)
            while self.tree.elements[last].name != token.name:
                last = self._end(index)
            self.tree.inside.append(last)
        else:
            self.tree.inside.append(self.open[-1])

    def _open(self, index: int, token: Token) -> None:
        elements = self.tree.elements
        if self.counts["svg"] and token.name in NOT_IN_SVG and not self.counts["foreignobject"] + self.counts["desc"]:
            while self.counts["svg"]:
                self._end(index)
        while len(self.open) > 1 and token.name in ENDS.get(elements[self.open[-1]].name, ()):
            self._end(index)
        around = elements[self.open[-1]]
        is_deep = around.n_names >= PATH_NAMES
        path = around.path if is_deep else f"{around.path}/{token.name}".lstrip("/")
        is_unseen = around.is_unseen or token.is_unseen
        elements.append(Element(token.name, self.open[-1], path, around.n_names + (not is_deep), is_unseen))
        self.tree.inside.append(len(elements) - 1)
        if token.name not in VOID:
            self.open.append(len(elements) - 1)
            self.counts[token.name] += 1

    def _end(self, index: int) -> int:
        last = self.open.pop()
        self.counts[self.tree.elements[last].name] -= 1
        self.tree.ends.setdefault(index, []).append(last)
        return last
