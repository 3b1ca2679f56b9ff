"""The report of a selection: one HTML page with everything in it, no script, nothing loaded from elsewhere.

The same selection gives the same bytes; there is no time and no place in it. Scores, groups and sizes come from the
score table; texts are read from the source in one pass, and only the beginnings of those that are shown are kept.
"""

from __future__ import annotations

from pathlib import Path

from datapruner import report_parts
from datapruner.fingerprint import difference, fingerprint
from datapruner.kept_hash import kept_hash
from datapruner.report_facts import gather
from datapruner.report_rows import choose
from datapruner.report_style import STYLE
from datapruner.report_text import shown
from datapruner.selection import Selection, Step
from datapruner.source import Source
from datapruner.table import Column, ScoreTable

# files that are listed by name
MOST_FILES = 20


def render(selection: Selection, source: Source | None = None, table: ScoreTable | None = None) -> str:
    """The page about `selection`; without `source` no texts, without `table` no sizes, groups and duplicates.

    Raises ValueError where the table is of another input; the source is taken as that of the selection.
    """
    if table is not None:
        table.refuse_other_input(selection.input["files"])
    facts = gather(selection, table)
    rows = choose(selection, facts, table, source)
    title = f"{selection.n_kept:,} of {selection.n_rows:,} rows kept"
    left_out = [] if source is not None else ["Texts are left out: this report was made without the corpus."]
    left_out += [] if table is not None else ["Sizes, groups and duplicates are left out: made without score table."]
    parts = [
        report_parts.warnings([*dict.fromkeys(selection.warnings), *left_out]),
        report_parts.sizes(facts),
        report_parts.histograms(facts),
        report_parts.mix(facts),
        report_parts.reasons(selection),
        report_parts.sides(rows),
        report_parts.duplicates(rows),
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
    from datapruner.files import replacing

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def check_source(source: Source, selection: Selection) -> None:
    """Raise ValueError where `source` is not what the selection was made from."""
    reason = difference(selection.input["files"], fingerprint(source))
    if reason is not None:
        raise ValueError(f"the selection is of another input: {reason}")


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
