"""The report of a selection: one HTML page with everything in it, no script, nothing loaded from elsewhere.

The same selection gives the same bytes; there is no time and no place in it. Scores, groups and sizes come from the
score table; texts are read in one pass over the source, that of `write` where it writes the report too, and only the
beginnings of those that are shown are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datapruner.corpus.atomic_files import atomic_write
from datapruner.corpus.source import Source
from datapruner.output.report import sections
from datapruner.output.report.example_rows import ExampleRows, ExampleTexts, choose_examples
from datapruner.output.report.html_text import escaped
from datapruner.output.report.statistics import Statistics, statistics_of
from datapruner.output.report.stylesheet import STYLE
from datapruner.scoring.manifest import Column
from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.kept_hash import kept_hash
from datapruner.selection.selection import Selection
from datapruner.selection.step import Step

# files that are listed by name
MOST_FILES = 20


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
    body = "\n".join(part for part in parts if part)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - datapruner</title>
<style>{STYLE}</style>
</head>
<body><div class="all">
<header><p class="tag">datapruner</p>
<h1>{title}</h1></header>
<main>
{body}
</main>
</div></body>
</html>
"""


def save(page: str, path: Path) -> None:
    """Write `page` to `path`; it appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _how(selection: Selection) -> str:
    steps = "".join(f"<li>{_step(step)}</li>" for step in selection.steps)
    fields = ", ".join(f"{escaped(key)} <code>{escaped(str(name))}</code>"
                       for key, name in selection.input["fields"].items() if name is not None)  # fmt: skip
    files = selection.input["files"]
    lines = "".join(
        f'<tr><td class="name">{escaped(file["name"])}</td><td class="n">{file["bytes"]:,}</td>'
        f"<td><code>{file['blake2b']}</code></td></tr>"
        for file in files[:MOST_FILES]
    )
    more = f"<p class='soft'>and {len(files) - MOST_FILES:,} more files</p>" if len(files) > MOST_FILES else ""
    return f"""<h2>How it was made</h2>
<ol>{steps}</ol>
<p>Kept set: {selection.n_kept:,} rows, BLAKE2b of their uids in order <code>{kept_hash(selection)}</code></p>
<p class="soft">Fields: {fields}</p>
<div class="wide"><table><thead><tr><th>file</th><th class="n">bytes</th><th>BLAKE2b</th></tr></thead>
<tbody>{lines}</tbody></table></div>{more}"""


def _step(step: Step) -> str:
    by = "" if step["by"] is None else f" by <code>{escaped(str(step['by']))}</code>"
    budget = "".join(f", {escaped(name)} {value:,}" for name, value in step["budget"].items())
    per = "" if step["per"] is None else f", inside each <code>{escaped(str(step['per']))}</code>"
    quota = "" if step["quota"] in (None, "kept") else f", quota {escaped(str(step['quota']))}"
    text = (
        f"<code>{escaped(step['selector'])}</code>{by}{budget}{per}{quota}: {step['kept']:,} of {step['rows']:,} rows"
    )
    return text + "".join(_column(name, column) for name, column in step["columns"].items())


def _column(name: str, column: Column) -> str:
    hashes = "".join(f", {escaped(name)} <code>{escaped(value)}</code>" for name, value in column["identity"].items())
    return (
        f'<br><span class="soft">{escaped(name)}: <code>{escaped(column["spec"])}</code>, '
        f"{escaped(column['direction'])}; version {column['version']}, "
        f"prunekit {escaped(column['package'])}{hashes}</span>"
    )
