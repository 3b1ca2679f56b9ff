"""Text and Markdown: the lines of a text in blocks, as paragraphs, headings, list items, table rows and fenced code.

Markdown's rules in so far as they show without nesting. A line that opens no block of its own continues the
paragraph or the list item before it, and blank lines belong to the block before them. A fenced block is its
opening fence, its lines and its closing fence, or all up to the end of the text where that is missing; a
table's header row takes the line of dashes below it with it, and what stands above it in the table are headers, too.
Indented code is read as prose, and so is what is quoted (> ), to any depth.

What writers use for headings without marks is one as well: a bold line, a question behind "Q:", a term above what it
means (": "), and in plain text a short line alone above a paragraph (`title_lines`). Paragraphs of keys and values
with the same first key are records (`key_values`).
"""

from __future__ import annotations

import itertools
import re

from contextpruner.units import line_breaks
from contextpruner.units.blocks import FIRST_ROW, HEAD_ROW, Block, BlockKind
from contextpruner.units.formats import drawn_tables
from contextpruner.units.formats.key_values import with_records
from contextpruner.units.formats.list_markers import BULLET, CLAUSE, FIRST_ITEM, ITEM, ListLevels
from contextpruner.units.formats.title_lines import with_titles

QUOTE = re.compile(r"(?:>[ \t]?)+")
HEADING = re.compile(r"#{1,6}(?:\s|$)")
FENCE = re.compile(r"`{3,}|~{3,}")
# a bold line that is no statement
BOLD_LINE = re.compile(r"(\*\*|__)(?![\s*_])(?:(?!\1).){1,100}(?<![\s.!])\1\s*:?$")
QUESTION_LINE = re.compile(
    r"[*_]{0,3}(?:[QFP]\s?\d*\s?[:.][*_]{0,3}(?=\s.*[?？]\s*[*_]{0,3}$)|Q\s?\d*\s?[:：]"
    r"|(?:question|frage|pregunta|domanda|pergunta|vraag|вопрос|问题|問題|问|問)\s?\d*\s?[:：])[*_]{0,3}\s*\S",
    re.IGNORECASE,
)
ANSWER_LINE = re.compile(
    r"[*_]{0,3}(?:[AR]|answer|antwort|r[ée]ponse|respuesta|risposta|resposta|antwoord|ответ|答案|回答|答)\s?\d*\s?[:：]",
    re.IGNORECASE,
)
# what the term on the line before means, and such a term
MEANING = re.compile(r":[ \t]+\S")
TERM = re.compile(r"(?!:)(?:(?![.!?;:]$).){1,100}$")
# who speaks next
SPEECH = re.compile(r"—\s*\S")

BOLD_LEVEL, QUESTION_LEVEL, TERM_LEVEL = 7, 8, 9
# rows above a table's line of dashes
MOST_HEADS = 3
TAB = 4


def markdown_blocks(text: str) -> list[Block]:
    """The blocks of `text`, which partition it."""
    reader = _MarkdownReader()
    for line in text.splitlines(keepends=True):
        reader.read(line)
    reader.end_grid()
    if not text:
        return []
    begun = reader.begun or [(0, "prose", 0)]
    # blank lines at the head of a text belong to its first block
    edges = itertools.pairwise([0, *(start for start, _, _ in begun[1:]), len(text)])
    found = [Block(*edge, kind, level) for edge, (_, kind, level) in zip(edges, begun, strict=True)]
    found = drawn_tables.with_headers(text, found)
    blocks: list[Block] = []
    for block in with_records(text, list(with_titles(text, found))):
        rows = drawn_tables.aligned_rows(text, block) if block.kind == "prose" else []
        blocks += rows or [block]
    return blocks


class _MarkdownReader:
    """Goes through the lines once and remembers where blocks begin."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, BlockKind, int]] = []
        self.position = 0
        self.fence = ""
        # the kind of the block that the next line may continue, and how many lines it has so far
        self.open: BlockKind | None = None
        self.n_lines = 0
        # the line before, without its white space, and how deep it is quoted
        self.last = ""
        self.quoted = 0
        self.lists = ListLevels()
        # the lines of the grid that is being read, and how many rows the table of | has
        self.grid: list[drawn_tables.Line] = []
        self.n_rows = 0
        self.head = ""

    def read(self, line: str) -> None:
        bare = line.strip() if self.fence else drawn_tables.plain(line.strip())
        if self.grid and bare[:1] not in ("|", "+"):
            self.end_grid()
        if self.fence:
            self._read_fenced(bare)
        elif self.grid or drawn_tables.BORDER.match(bare):
            self.grid.append(drawn_tables.Line(self.position, bare))
        else:
            bare = self._unquoted(bare)
            if not bare:
                self.open = None
            elif self._closes_header(bare):
                self.n_lines += 1
            else:
                self._begin_or_continue(bare, len(line.expandtabs(TAB)) - len(line.expandtabs(TAB).lstrip()))
        self.position += len(line)
        self.last = bare

    def end_grid(self) -> None:
        """The grid is over."""
        if self.grid:
            self.begun += [(start, "table_row", level) for start, level in drawn_tables.grid_rows(self.grid)]
            self.grid, self.open = [], None

    def _unquoted(self, bare: str) -> str:
        quote = QUOTE.match(bare) if bare[:1] == ">" else None
        quoted = quote.group().count(">") if quote else 0
        if bare and quoted != self.quoted:
            self.open, self.quoted = None, quoted
        return bare[quote.end() :] if quote else bare

    def _begin_or_continue(self, bare: str, indent: int) -> None:
        kind, level = self._kind(bare)
        if MEANING.match(bare):
            self._end_term()
        if self._goes_on(kind, bare, indent):
            self.n_lines += 1
            return
        if kind == "list_item":
            level = self.lists.level(bare, indent)
        elif kind == "prose" and indent:
            level = self.lists.continued(indent)
        if kind in ("heading", "rule") or (kind == "prose" and not level):
            self.lists.end()
        if kind == "table_row":
            self.n_rows = 1 if self.open != "table_row" else self.n_rows + 1
            level = FIRST_ROW if self.n_rows == 1 else level
        self.begun.append((self.position, kind, level))
        self.open, self.n_lines = kind, 1
        if kind == "fence":
            fence = FENCE.match(bare)
            self.fence, self.open = fence.group() if fence else "", None

    def _end_term(self) -> None:
        """What a term means begins: the term is the paragraph of one line before it."""
        if self.open == "prose" and self.n_lines == 1 and not self.begun[-1][2] and TERM.match(self.last):
            self.begun[-1] = (self.begun[-1][0], "heading", TERM_LEVEL)
        self.open = None

    def _goes_on(self, kind: BlockKind, bare: str, indent: int) -> bool:
        """Whether the line continues the block before it."""
        if kind != "prose" or ANSWER_LINE.match(bare):
            return False
        if self.open == "heading":
            # a question that is longer than its line
            return self.begun[-1][2] == QUESTION_LEVEL and not self.last.endswith(("?", "？"))
        if self.open == "prose" or (self.open == "list_item" and indent):
            return bare[0] != "—" or not SPEECH.match(bare)
        return self.open == "list_item" and not line_breaks.is_deliberate(self.last, bare)

    def _read_fenced(self, bare: str) -> None:
        if bare.startswith(self.fence) and not bare.strip(self.fence[0]):
            self.begun.append((self.position, "fence", 0))
            self.fence = ""
        elif bare and self.begun[-1][1] == "fence":
            self.begun.append((self.position, "code", 0))

    def _closes_header(self, bare: str) -> bool:
        """A line of dashes or equal signs under one line of text makes that a heading or a table's header."""
        if self.n_lines != 1 or self.open not in ("prose", "table_row") or bare.strip("|:-= \t"):
            return False
        start = self.begun[-1][0]
        if "|" in bare and "-" in bare and "=" not in bare:
            if self.open == "prose":
                self.n_rows = 1
            n_heads = self.n_rows if self.n_rows <= MOST_HEADS else 1
            self.begun[-1] = (start, "table_row", HEAD_ROW)
            for place in range(len(self.begun) - n_heads, len(self.begun)):
                self.begun[place] = (self.begun[place][0], "table_row", HEAD_ROW)
            self.head = self.last
            # what follows in this table heads nothing
            self.open, self.n_rows = "table_row", MOST_HEADS + 1
            return True
        if self.open == "prose" and len(bare) > 1 and (not bare.strip("=") or not bare.strip("-")):
            self.begun[-1] = (start, "heading", 1 if bare[0] == "=" else 2)
            self.open = None
            return True
        return False

    def _kind(self, bare: str) -> tuple[BlockKind, int]:
        """What a line begins if it does not go on, and the level of a heading or of a second header row."""
        first = bare[0]
        if not self.quoted:
            if first in "`~" and FENCE.match(bare):
                return "fence", 0
            if (first == "#" and HEADING.match(bare)) or (len(bare) > 4 and bare[:2] == bare[-2:] == "=="):
                # a wiki's == is 2, as it stands below the page's own title
                return "heading", len(bare) - len(bare.lstrip(first))
            if first in "*_" and self.open != "prose" and BOLD_LINE.match(bare):
                return "heading", BOLD_LEVEL
            if QUESTION_LINE.match(bare):
                return "heading", QUESTION_LEVEL
        if first == "|" or bare.count("\t") > 1 or (self.open == "table_row" and "|" in bare):
            is_second = self.open == "table_row" and self.begun[-1][2] == HEAD_ROW
            return "table_row", HEAD_ROW if is_second and _has_no_name(bare) and _has_no_name(self.head) else 0
        if first in "-*_" and len(bare) > 2 and not bare.strip(f"{first} \t") and bare.count(first) > 2:
            return ("prose" if drawn_tables.UNDERLINES.match(bare) else "rule"), 0
        # a number at the head of a line is an item's only where no sentence can be running on
        item = FIRST_ITEM if self.open == "prose" else ITEM
        is_clause = self.open != "prose" and CLAUSE.match(bare)
        return ("list_item" if BULLET.match(bare) or item.match(bare) or is_clause else "prose"), 0


def _has_no_name(row: str) -> bool:
    """Whether the first cell of a row is empty, as where names stand in the column below it."""
    return re.match(r"\|\s*\|", row) is not None
