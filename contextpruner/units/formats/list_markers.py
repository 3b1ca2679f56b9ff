"""Marks at the head of a list item, and how deep the item stands, by its indentation and by the marks before it.

A mark of another kind at the same indentation opens a list in the item above it: "(2)" has its "a)" and "b)", a "-" its
"o". A clause with a number in parts, "5.3", stands below "5." and above its letters, and ends any other list. No list
begins with a later number: such an item goes on where the text does not show the beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

BULLET = re.compile(r"[-*+•‣◦▪●○]\s")
# 5.3, 5.3.1 before a capital, a bracket or a quote
CLAUSE = re.compile(r"(?:§+\s?)?\d{1,3}(?:\.\d{1,3})+\.?\s+(?=[^\W\da-zß-öø-ÿ_]|[\"'“„«(])")
FIRST_ITEM = re.compile(r"\(?(?:1|[aA])\)\s|1\.\s")
ITEM = re.compile(r"\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})\)\s|\d{1,3}\.\s|–\s")
MARK = re.compile(r"\(?(?P<body>\w{1,5})[.)]")
ROMAN = re.compile(r"[ivx]+")


@dataclass
class ListLevels:
    """Goes through the items of a text once; `end` where no list goes on."""

    # the indentation and the kind of mark of each item that is open, and the body of its last mark
    open: list[tuple[int, str, str]] = field(default_factory=list)

    def end(self) -> None:
        self.open = []

    def level(self, bare: str, indent: int) -> int:
        """How deep the item on this line stands, from 1 on."""
        body, kind = self._kind(bare)
        while self.open and self.open[-1][0] > indent:
            self.open.pop()
        if kind.startswith("clause"):
            while self.open and not self._holds(*self.open[-1][1:], body, kind):
                self.open.pop()
        else:
            kinds = [mark for width, mark, _ in self.open if width == indent]
            while kind not in kinds and body.isdigit() and int(body) > 1 and self.open and self.open[-1][0] == indent:
                self.open.pop()
            while kind in kinds and self.open[-1][1:2] != (kind,):
                self.open.pop()
            if kind in kinds:
                self.open.pop()
        self.open.append((indent, kind, body))
        return len(self.open)

    def continued(self, indent: int) -> int:
        """The level of the item in which an indented line stands, 0 where there is none."""
        return sum(width < indent for width, _, _ in self.open)

    @staticmethod
    def _holds(above: str, last: str, body: str, kind: str) -> bool:
        """Whether an item with the mark `above`, the body of which is `last`, may hold the clause `body`."""
        return above < kind if above.startswith("clause") else above == "1%." and last == body.partition(".")[0]

    def _kind(self, bare: str) -> tuple[str, str]:
        clause = CLAUSE.match(bare)
        if clause is not None:
            number = clause.group().strip(" .§")
            return number, f"clause{number.count('.')}"
        mark = MARK.match(bare)
        if mark is None:
            return "", "-" if bare[0] in "-*+•‣–" else bare[0]
        body = mark["body"]
        shape = mark.group().replace(body, "%", 1)
        if body.isdigit():
            return body, f"1{shape}"
        letter = "A" if body[0].isupper() else "a"
        # (i) behind (h) is a letter, anywhere else a number
        before = chr(ord(body[0]) - 1)
        is_next = any(kind == letter + shape and last == before for _, kind, last in self.open)
        if ROMAN.fullmatch(body) and not (len(body) == 1 and is_next):
            return body, f"i{shape}"
        return body, letter + shape
