r"""LaTeX: prose with headings (\section), list items (\item) and environments.

An environment that holds a formula, a figure, a table or code is one unit, and so is a formula between \[ and \]; one
that holds prose (document, abstract, theorem, quote, itemize) is read, and its \begin and \end are rules, as are the
lines of the preamble, commands that stand alone on their line, and comments.
"""

from __future__ import annotations

import re

from contextpruner.units.blocks import Block, BlockKind

WHOLE_NAMES = (
    "equation align alignat gather multline eqnarray displaymath math flalign split cases array matrix "
    "figure table tabular tabularx longtable tikzpicture verbatim lstlisting minted algorithm algorithmic "
    "listing wrapfigure picture Verbatim"
)
WHOLE = frozenset(WHOLE_NAMES.split())
LISTS = frozenset(("itemize", "enumerate", "description", "compactitem", "compactenum"))
LEVELS = {"title": 1, "part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "paragraph": 6}
LEVELS |= {"subparagraph": 7}

BEGIN = re.compile(r"\\begin\s*\{([A-Za-z]+)\*?\}")
HEADING = re.compile(r"\\(title|part|chapter|(?:sub){0,2}section|(?:sub)?paragraph)\*?\s*(?:\[[^\]\n]*\])?\s*\{")
ITEM = re.compile(r"\\item\b")
# a command alone on its line, a line that only ends something
COMMAND = re.compile(r"\\(?!item\b)[A-Za-z]+\*?(?:\s*\[[^\]\n]*\]|\s*\{[^{}\n]*\})*\s*(?:%.*)?$")
DISPLAY = {r"\[": r"\]", "$$": "$$"}


def latex_blocks(text: str) -> list[Block]:
    """The blocks of `text`, which partition it."""
    reader = _LatexReader()
    for line in text.splitlines(keepends=True):
        reader.read(line)
    begun = reader.begun or [(0, "prose", 0)]
    starts = [0, *(start for start, _, _ in begun[1:]), len(text)]
    edges = zip(starts, starts[1:], begun, strict=False)
    return [Block(start, end, kind, level) for start, end, (_, kind, level) in edges if start < end]


class _LatexReader:
    """Goes through the lines once and remembers where blocks begin."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, BlockKind, int]] = []
        self.position = 0
        # whether the next line of prose goes on in the last block
        self.is_open = False
        # what ends the environment or the formula that is being read
        self.until = ""
        self.depth = 0

    def read(self, line: str) -> None:
        bare = line.strip()
        if self.until:
            if self.until in bare:
                self.until = ""
        elif not bare:
            self.is_open = False
        else:
            self._read(bare)
        self.position += len(line)

    def _read(self, bare: str) -> None:
        environment = BEGIN.match(bare)
        heading = HEADING.match(bare)
        display = DISPLAY.get(bare[:2])
        if environment is not None and environment[1] in WHOLE:
            self._begin("environment")
            self._until(bare, bare[: environment.end()].replace("begin", "end", 1))
        elif display is not None:
            self._begin("environment")
            self._until(bare[2:], display)
        elif heading is not None:
            self._begin("heading", LEVELS[heading[1]])
        elif ITEM.match(bare):
            self._begin("list_item", max(self.depth, 1))
            self.is_open = True
        elif bare[0] == "%" or COMMAND.match(bare):
            self._nest(bare)
            self._begin("rule")
        elif not self.is_open:
            self._begin("prose")
            self.is_open = True

    def _until(self, bare: str, end: str) -> None:
        self.until = "" if end in bare else end

    def _nest(self, bare: str) -> None:
        environment = BEGIN.match(bare)
        if environment is not None and environment[1] in LISTS:
            self.depth += 1
        elif bare.startswith("\\end") and any(f"{{{name}}}" in bare for name in LISTS):
            self.depth = max(self.depth - 1, 0)

    def _begin(self, kind: BlockKind, level: int = 0) -> None:
        self.begun.append((self.position, kind, level))
        self.is_open = False
