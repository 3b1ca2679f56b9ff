"""What a reader sees of an HTML source, in blocks, each with its place in the tree of elements.

Text between two tags of blocks is one block; a heading is one block whatever is in it, and so are the cells of a table
row, with bars between them, unless the table holds a page's layout or code: a row of more than `ROW_CHARACTERS`, or one
with `pre` in it, is the blocks that are in it. Elements that no reader sees (`tokens`) are passed over as if they
were not there.
"""

from __future__ import annotations

import html
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from contextpruner.units.blocks import Block, BlockKind
from contextpruner.units.formats.html.attributes import image_text, link_target, shown_target
from contextpruner.units.formats.html.tokens import Token, names, tokens
from contextpruner.units.formats.html.tree import BLOCKS, Tree, build_tree
from contextpruner.units.formats.html.visible_text import Part, VisibleText

ROW_CHARACTERS = 600
# no longer text is asked whether it is blank once its entities are spelled out
BLANK_CHARACTERS = 60
SPAN = re.compile(r"\s(row|col)span\s*+=\s*+[\"']?\s*+(\d{1,5})(?!\d)", re.IGNORECASE)
MOST_ROWS = 65534
# at the end of a link
STOP = re.compile(r"[.!?…。！？]+\s*\Z")
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"

ITEMS = names("li dt dd")
LISTS = names("ul ol menu dl")
LEVELS = {"title": 1, **{f"h{level}": level + 1 for level in range(1, 7)}, "summary": 8, "legend": 8}
# a paragraph of bold letters alone that is no statement and no longer heads what follows
BOLD = names("b strong")
BOLD_LEVEL, BOLD_CHARACTERS = 8, 100
PRE = names("pre textarea")
# what a heading inside these says holds up to their end
SECTIONS = names("article section main aside nav footer dialog details fieldset blockquote figure td th li")
# what needs a header to be read, or is one
Role = Literal["", "caption", "head", "part", "body"]
ROLES: dict[str, Role] = {"caption": "caption", "dt": "head", "dd": "body"}


class BlockPlace(NamedTuple):
    """Where a block stands: the path of its element, the nearest section, and its role in a table or list of terms.

    `n_rows_below` is how many rows further a cell of a row reaches.
    """

    path: str
    section: int
    group: int
    role: Role
    n_rows_below: int = 0


@dataclass
class _Cells:
    """How many rows further each cell reaches, of those that do; how many cells a row has, and columns they take."""

    rows_below: dict[int, int] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    columns: Counter[int] = field(default_factory=Counter)


@dataclass
class PageBlocks:
    """The visible text of a source, the place of each of its blocks, and for each element the last one inside it."""

    visible: VisibleText
    places: list[BlockPlace] = field(default_factory=list)
    last_inside: list[int] = field(default_factory=list)


class _Context(NamedTuple):
    """What an element's text is: the nearest block around it, its cell, its kind.

    `whole` is the row or the heading around it, `group` the table or the list of terms, `depth` the lists around it.
    """

    block: int = 0
    section: int = 0
    group: int = 0
    whole: int = 0
    cell: int = 0
    kind: BlockKind = "prose"
    level: int = 0
    role: Role = ""
    depth: int = 0
    is_bold: bool = False

    def inside(self, index: int, name: str) -> _Context:
        """The context of element `index`, a `name`, that stands in this one."""
        if name not in BLOCKS:
            return self._replace(is_bold=True) if name in BOLD else self
        section = index if name in SECTIONS else self.section
        depth = self.depth + (name in LISTS)
        role = ROLES.get(name, self.role)
        here = self._replace(block=index, section=section, role=role, depth=depth, is_bold=False)
        if name in LEVELS:
            return here._replace(whole=self.whole or index, kind="heading", level=LEVELS[name])
        if name in PRE:
            return here._replace(kind="code")
        if name in ITEMS:
            return here._replace(kind="list_item", level=max(depth, 1))
        if name == "table":
            return _Context(block=index, section=section, group=index)
        if name == "dl":
            return here._replace(group=index, role="")
        if name in ("thead", "tbody", "tfoot"):
            return here._replace(role="head" if name == "thead" else "")
        if name == "tr":
            return here._replace(whole=index, kind="table_row")
        if name in ("td", "th"):
            return here._replace(cell=index, kind="prose", level=0)
        return here


class _InlineRun(NamedTuple):
    """Text between two tags of blocks."""

    context: _Context
    parts: list[Part]
    is_bold: bool = False

    @property
    def size(self) -> int:
        return sum(part.end - part.start if part.text is None else len(part.text) for part in self.parts)


def page_blocks(source: str) -> PageBlocks:
    """What a reader sees of `source`."""
    found = list(tokens(source))
    tree = build_tree(found)
    page = PageBlocks(VisibleText(source), last_inside=list(range(len(tree.elements))))
    for index in range(len(tree.elements) - 1, 0, -1):
        parent = tree.elements[index].parent
        page.last_inside[parent] = max(page.last_inside[parent], page.last_inside[index])
    contexts = [_Context()]
    for index, element in enumerate(tree.elements[1:], 1):
        contexts.append(contexts[element.parent].inside(index, element.name))
    runs = itertools.groupby(_runs(source, found, tree, contexts), key=lambda run: run.context.whole)
    groups = [(whole, list(group)) for whole, group in runs]
    cells = _cells(source, found, tree, contexts)
    repeated = _repeated_titles(source, tree, groups)
    for whole, group in groups:
        if whole not in repeated:
            _add_runs(page, tree, contexts[whole], group, cells)
    return page


def _cells(source: str, found: Sequence[Token], tree: Tree, contexts: Sequence[_Context]) -> _Cells:
    cells = _Cells()
    for token, inside in zip(found, tree.inside, strict=True):
        if token.kind == "open" and token.name in ("td", "th"):
            given = {match[1].lower(): int(match[2]) for match in SPAN.finditer(source, token.start, token.end)}
            # browsers read no more than 65534, and 0 as up to the end of the table
            rows = min(given.get("row", 1) or MOST_ROWS, MOST_ROWS)
            if rows > 1:
                cells.rows_below[inside] = rows - 1
            cells.counts[contexts[inside].whole] += 1
            cells.columns[contexts[inside].whole] += max(given.get("col", 1), 1)
    return cells


def _repeated_titles(source: str, tree: Tree, groups: Sequence[tuple[int, list[_InlineRun]]]) -> set[int]:
    """The `title` elements whose words an `h1` of the page says again."""
    words: dict[str, set[tuple[str, ...]]] = {"title": set(), "h1": set()}
    titles: dict[int, tuple[str, ...]] = {}
    for whole, runs in groups:
        name = tree.elements[whole].name
        if name in words:
            shown = " ".join(part.shown(source) for run in runs for part in run.parts)
            said = tuple(html.unescape(shown).casefold().split())
            words[name].add(said)
            if name == "title":
                titles[whole] = said
    return {whole for whole, said in titles.items() if said in words["h1"]}


def _add_runs(page: PageBlocks, tree: Tree, context: _Context, runs: list[_InlineRun], cells: _Cells) -> None:
    """Runs of one row or heading, which has the `context`, or of none."""
    if context.whole and context.kind == "heading":
        _add(page, tree, context._replace(role=""), [[run.parts for run in runs]])
    elif context.whole and _is_row(runs):
        is_marked = all(tree.elements[run.context.cell].name == "th" for run in runs)
        role: Role = "head" if context.role == "head" or is_marked else "body"
        context = context._replace(role="part" if _heads_part(page, context.whole, runs, cells) else role)
        below = max(cells.rows_below.get(run.context.cell, 0) for run in runs)
        row = [list(cell) for _, cell in itertools.groupby(runs, lambda run: run.context.cell)]
        _add(page, tree, context, [[run.parts for run in cell] for cell in row], below)
    else:
        for run in runs:
            # what is in a row that is none has no part in the table
            kind: BlockKind = "prose" if run.context.kind == "table_row" else run.context.kind
            role = run.context.role if kind == "list_item" or run.context.role == "caption" else ""
            is_heading = kind == "prose" and not role and run.is_bold and run.size <= BOLD_CHARACTERS
            kind, level = ("heading", BOLD_LEVEL) if is_heading else (kind, run.context.level)
            _add(page, tree, run.context._replace(kind=kind, role=role, level=level), [[run.parts]])


def _heads_part(page: PageBlocks, row: int, runs: list[_InlineRun], cells: _Cells) -> bool:
    """Whether a row has words in one of its columns alone, bold or with a colon, or across all, without a stop."""
    if cells.columns[row] < 2 or len(runs) > 1 or runs[0].size > BOLD_CHARACTERS:
        return False
    shown = "".join(part.shown(page.visible.source) for part in runs[0].parts).rstrip()
    is_across = cells.counts[row] == 1 and not shown.endswith((".", "!", "?", "。"))
    return is_across or runs[0].is_bold or shown.endswith(":")


def _is_row(runs: list[_InlineRun]) -> bool:
    return sum(run.size for run in runs) <= ROW_CHARACTERS and not any(run.context.kind == "code" for run in runs)


def _add(page: PageBlocks, tree: Tree, context: _Context, cells: list[list[list[Part]]], n_rows_below: int = 0) -> None:
    page.visible.add_block(cells, Block(0, 0, context.kind, context.level), is_pre=context.kind == "code")
    path = tree.elements[context.block].path
    page.places.append(BlockPlace(path, context.section, context.group, context.role, n_rows_below))


def _runs(source: str, found: Sequence[Token], tree: Tree, contexts: Sequence[_Context]) -> Iterator[_InlineRun]:
    parts: list[Part] = []
    context, is_bold = contexts[0], True
    # of each open link where it leads and how many parts stand before its words
    links: dict[int, tuple[str, int]] = {}
    for number, (token, inside) in enumerate(zip(found, tree.inside, strict=True)):
        _end_links(source, parts, links, tree.ends.get(number, ()), token.start)
        if token.kind == "hidden" or tree.elements[inside].is_unseen:
            continue
        part = _part(source, token)
        if part is not None:
            context, is_bold = (context, is_bold) if parts else (contexts[inside], True)
            is_bold &= contexts[inside].is_bold or _is_blank(part.shown(source))
            parts.append(part)
        elif token.name in BLOCKS:
            yield from _run(source, context, parts, is_bold)
            parts, links = [], {link: (target, 0) for link, (target, _) in links.items()}
        elif token.kind == "open" and token.name == "a":
            links[inside] = (link_target(source, token), len(parts))
    _end_links(source, parts, links, tree.ends.get(len(found), ()), len(source))
    yield from _run(source, context, parts, is_bold)


def _end_links(
    source: str, parts: list[Part], links: dict[int, tuple[str, int]], ended: Sequence[int], at: int
) -> None:
    """Add to `parts` the targets of those of the open `links` that end at this place of the source."""
    for element in ended if links else ():
        target, n_before = links.pop(element, ("", 0))
        words = html.unescape("".join(part.shown(source) for part in parts[n_before:])) if target else ""
        if not _is_blank(words) and (shown := shown_target(target, words)):
            last = parts[-1]
            stop = STOP.search(source, last.start, last.end) if last.text is None else None
            at = stop.start() if stop else at
            # the stop of a sentence that ends with its link stands behind the target
            behind = [Part(stop.start(), stop.end())] if stop else []
            parts[-1:] = [last._replace(end=at) if stop else last, Part(at, at, f" ({shown})"), *behind]


def _part(source: str, token: Token) -> Part | None:
    """What a reader sees of `token` itself."""
    if token.kind == "text":
        return Part(token.start, token.end)
    text = image_text(source, token) if token.kind == "open" and token.name == "img" else ""
    return Part(token.start, token.end, text) if text else None


def _run(source: str, context: _Context, parts: list[Part], is_bold: bool) -> Iterator[_InlineRun]:
    """The run without white space at its edges, if anything is left of it; `pre` keeps its indentation."""
    shown = [number for number, part in enumerate(parts) if not _is_blank(part.shown(source))]
    if not shown:
        return
    parts = parts[shown[0] : shown[-1] + 1]
    head, tail = parts[0].shown(source), parts[-1].shown(source)
    if parts[0].text is None:
        n_blank = len(head) - len(head.lstrip("\r\n" if context.kind == "code" else None))
        parts[0] = parts[0]._replace(start=parts[0].start + n_blank)
    if parts[-1].text is None:
        parts[-1] = parts[-1]._replace(end=parts[-1].end - len(tail) + len(tail.rstrip()))
    yield _InlineRun(context, parts, is_bold and tail.rstrip()[-1:] not in (".", "!", "。"))


def _is_blank(text: str) -> bool:
    if not text or text.isspace():
        return True
    # many a page spaces its blocks with paragraphs of one &nbsp;
    return len(text) <= BLANK_CHARACTERS and not html.unescape(text).strip().strip(INVISIBLE)
