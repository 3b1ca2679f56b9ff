"""The report of a selection: one HTML page with everything in it, no script, nothing loaded from elsewhere.

The same selection gives the same bytes; there is no time and no place in it. Scores, groups and sizes come from the
score table; texts are read in one pass over the source, that of `write` where it writes the report too, and only the
beginnings of those that are shown are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datapruner import report_parts
from datapruner.corpus.source import Source
from datapruner.report_facts import Facts, gather
from datapruner.report_rows import Shown, Texts, choose
from datapruner.report_style import STYLE
from datapruner.report_text import shown
from datapruner.scoring.score_table import Column, ScoreTable
from datapruner.selection.kept_hash import kept_hash
from datapruner.selection.selection import Selection
from datapruner.selection.selection_file import Step

# files that are listed by name
MOST_FILES = 20


@dataclass(frozen=True)
class Draft:
    """A report but for the texts of its rows."""

    selection: Selection
    facts: Facts
    shown: Shown
    has_table: bool


def draft(selection: Selection, table: ScoreTable | None = None) -> Draft:
    """What the page about `selection` says; without `table` no sizes, groups and duplicates.

    Raises ValueError where the table is of another input.
    """
    if table is not None:
        table.refuse_other_input(selection.input["files"])
    facts = gather(selection, table)
    return Draft(selection, facts, choose(selection, facts, table), table is not None)


def render(selection: Selection, source: Source | None = None, table: ScoreTable | None = None) -> str:
    """The page about `selection`; without `source` no texts, without `table` no sizes, groups and duplicates.

    Raises ValueError where the table is of another input; the source is taken as that of the selection.
    """
    drafted = draft(selection, table)
    if source is None:
        return page(drafted, None)
    texts = Texts(source, selection, drafted.shown.rows())
    texts.read()
    return page(drafted, texts)


def page(drafted: Draft, texts: Texts | None) -> str:
    """The page of a draft, with the texts of its rows where there are any."""
    selection, facts, rows = drafted.selection, drafted.facts, drafted.shown
    found = None if texts is None else texts.found
    title = f"{selection.n_kept:,} of {selection.n_rows:,} rows kept"
    left_out = [] if texts is not None else ["Texts are left out: this report was made without the corpus."]
    without_table = "Sizes, groups and duplicates are left out: made without score table."
    left_out += [] if drafted.has_table else [without_table]
    parts = [
        report_parts.warnings([*dict.fromkeys(selection.warnings), *left_out]),
        report_parts.sizes(facts),
        report_parts.histograms(facts),
        report_parts.mix(facts),
        report_parts.reasons(selection),
        report_parts.sides(rows, found),
        report_parts.duplicates(rows, found),
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
    from datapruner.corpus.atomic_files import atomic_write

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _how(selection: Selection) -> str:
    steps = "".join(f"<li>{_step(step)}</li>" for step in selection.steps)
    fields = ", ".join(f"{shown(key)} <code>{shown(str(name))}</code>"
                       for key, name in selection.input["fields"].items() if name is not None)  # fmt: skip
    files = selection.input["files"]
    lines = "".join(
        f'<tr><td class="name">{shown(file["name"])}</td><td class="n">{file["bytes"]:,}</td>'
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
    by = "" if step["by"] is None else f" by <code>{shown(str(step['by']))}</code>"
    budget = "".join(f", {shown(name)} {value:,}" for name, value in step["budget"].items())
    per = "" if step["per"] is None else f", inside each <code>{shown(str(step['per']))}</code>"
    quota = "" if step["quota"] in (None, "kept") else f", quota {shown(str(step['quota']))}"
    text = f"<code>{shown(step['selector'])}</code>{by}{budget}{per}{quota}: {step['kept']:,} of {step['rows']:,} rows"
    return text + "".join(_column(name, column) for name, column in step["columns"].items())


def _column(name: str, column: Column) -> str:
    hashes = "".join(f", {shown(name)} <code>{shown(value)}</code>" for name, value in column["identity"].items())
    return (
        f'<br><span class="soft">{shown(name)}: <code>{shown(column["spec"])}</code>, {shown(column["direction"])}; '
        f"version {column['version']}, prunekit {shown(column['package'])}{hashes}</span>"
    )
