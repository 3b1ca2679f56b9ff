"""The report of a selection: one HTML page with everything in it, no script, nothing loaded from elsewhere.

The same selection gives the same bytes; there is no time and no place in it. Scores, groups and sizes come from the
score table; texts are read in one pass over the source, that of `write` where it writes the report too, and only the
beginnings of those that are shown are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datapruner.corpus.source import Source
from datapruner.output.report import sections
from datapruner.output.report.example_rows import ExampleRows, ExampleTexts, choose_examples
from datapruner.output.report.html_words import figure, name
from datapruner.output.report.statistics import Statistics, statistics_of
from datapruner.output.report.stylesheet import STYLE
from datapruner.scoring.manifest import Column
from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.kept_hash import kept_hash
from datapruner.selection.selection import Selection
from datapruner.selection.step import Step
from prunekernels.io.escape import GENERATOR
from prunekernels.io.html_page import html_page
from prunekernels.io.marks import has_mark
from prunekernels.io.outputs import atomic_text, check_file, make_parents

# what is told of each kind: of the others their number
MOST_FILES, MOST_STEPS, MOST_COLUMNS = 20, 20, 20


@dataclass(frozen=True)
class PageData:
    """All of a page but the texts of its rows."""

    selection: Selection
    statistics: Statistics
    examples: ExampleRows
    has_table: bool


def page_data(selection: Selection, table: ScoreTable | None = None) -> PageData:
    """What the page about `selection` says; without `table` no sizes, groups and duplicates.

    Raises ValueError where the table is of another input.
    """
    if table is not None:
        table.refuse_other_input(selection.input["files"])
    statistics = statistics_of(selection, table)
    return PageData(selection, statistics, choose_examples(selection, statistics, table), table is not None)


def render(selection: Selection, source: Source | None = None, table: ScoreTable | None = None) -> str:
    """The page about `selection`; without `source` no texts, without `table` no sizes, groups and duplicates.

    Raises ValueError where the table is of another input; the source is taken as that of the selection.
    """
    data = page_data(selection, table)
    if source is None:
        return page_html(data, None)
    texts = ExampleTexts(source, selection, data.examples.rows())
    texts.read()
    return page_html(data, texts)


def page_html(data: PageData, texts: ExampleTexts | None) -> str:
    """The page of its data, with the texts of its rows where there are any."""
    selection, statistics, rows = data.selection, data.statistics, data.examples
    found = None if texts is None else texts.found
    title = f"{selection.n_kept:,} of {selection.n_rows:,} rows kept"
    left_out = [] if texts is not None else ["Texts are left out: this report was made without the corpus."]
    without_table = "Sizes, groups and duplicates are left out: made without score table."
    left_out += [] if data.has_table else [without_table]
    parts = [
        sections.warnings([*dict.fromkeys(selection.warnings), *left_out]),
        sections.sizes(statistics),
        sections.histograms(statistics),
        sections.mix(statistics),
        sections.reasons(selection),
        sections.sides(rows, found),
        sections.duplicates(rows, found),
        _how(selection),
    ]
    head = f'<header><p class="tag">datapruner</p>\n<h1>{title}</h1></header>'
    body = "\n".join([head, "<main>", *filter(None, parts), "</main>"])
    return html_page(f"{title} - datapruner", STYLE, body)


def check_page(path: Path, inputs: Sequence[str | Path]) -> None:
    """Raise ValueError where `save` would refuse `path`, before a page is made for it."""
    if path.exists():
        check_file(path, replaces=_is_page, inputs=inputs)


def save(page: str, path: Path, inputs: Sequence[str | Path] = ()) -> None:
    """Write `page` to `path`; it appears whole. Raises ValueError where what is there is an input, or no page of ours.

    `inputs` are the paths that it was made from.
    """
    make_parents(path)
    with atomic_text(path, replaces=_is_page, inputs=inputs) as file:
        file.write(page)


def _is_page(path: Path) -> bool:
    return path.is_file() and has_mark(GENERATOR.encode())(path)


def _how(selection: Selection) -> str:
    steps = "".join(f"<li>{_step(step)}</li>" for step in selection.steps[:MOST_STEPS])
    steps += _more(len(selection.steps) - MOST_STEPS, "steps", "li")
    known = [(key, field) for key, field in selection.input["fields"].items() if field is not None][:MOST_COLUMNS]
    fields = ", ".join(f"{name(key)} <code>{name(field)}</code>" for key, field in known)
    files = selection.input["files"]
    lines = "".join(
        f'<tr><td class="name">{name(file["name"])}</td><td class="n">{figure(file["bytes"])}</td>'
        f"<td><code>{name(file['blake2b'])}</code></td></tr>"
        for file in files[:MOST_FILES]
    )
    return f"""<h2>How it was made</h2>
<ol>{steps}</ol>
<p>Kept set: {selection.n_kept:,} rows, BLAKE2b of their uids in order <code>{kept_hash(selection)}</code></p>
<p class="soft">Fields: {fields}</p>
<div class="wide"><table><thead><tr><th>file</th><th class="n">bytes</th><th>BLAKE2b</th></tr></thead>
<tbody>{lines}</tbody></table></div>{_more(len(files) - MOST_FILES, "files")}"""


def _more(others: int, kind: str, tag: str = "p") -> str:
    return f'<{tag} class="soft">and {others:,} more {kind}</{tag}>' if others > 0 else ""


def _step(step: Step) -> str:
    by = "" if step["by"] is None else f" by <code>{name(step['by'])}</code>"
    budget = "".join(f", {name(key)} {figure(value)}" for key, value in [*step["budget"].items()][:MOST_COLUMNS])
    per = "" if step["per"] is None else f", inside each <code>{name(step['per'])}</code>"
    quota = "" if step["quota"] in (None, "kept") else f", quota {name(step['quota'])}"
    rows = f"{figure(step['kept'])} of {figure(step['rows'])} rows"
    columns = [*step["columns"].items()]
    more = _more(len(columns) - MOST_COLUMNS, "columns", "span")
    text = f"<code>{name(step['selector'])}</code>{by}{budget}{per}{quota}: {rows}"
    return text + "".join(_column(key, column) for key, column in columns[:MOST_COLUMNS]) + (more and f"<br>{more}")


def _column(column_name: str, column: Column) -> str:
    known = [*column["identity"].items()][:MOST_COLUMNS]
    hashes = "".join(f", {name(key)} <code>{name(value)}</code>" for key, value in known)
    return (
        f'<br><span class="soft">{name(column_name)}: <code>{name(column["spec"])}</code>, '
        f"{name(column['direction'])}; version {name(column['version'])}, "
        f"prunekit {name(column['package'])}{hashes}</span>"
    )
