"""Tables for the README from results/*.json: `python -m benchmarks.tables` refreshes all of them.

A table stands between two marker comments and holds the newest run of each device:

    <!-- benchmark:kernels -->
    <!-- /benchmark -->

With `<!-- optional benchmark:... -->` there may be no results yet.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

from benchmarks.harness import RESULTS
from benchmarks.machine import ROOT

MARKED = re.compile(r"(<!-- (optional )?benchmark:([\w-]+) -->\n).*?(<!-- /benchmark -->)", re.DOTALL)


def table(name: str, folder: Path = RESULTS) -> str:
    """The newest run of each device in results/<name>.json as Markdown, with what it was measured on."""
    path = folder / f"{name}.json"
    if not path.exists():
        raise ValueError(f"no results for benchmark:{name}: {path} is missing")
    newest = {run["device"]: run for run in json.loads(path.read_text("utf-8"))}
    return "\n".join(_run(run) for _, run in sorted(newest.items()))


def _run(run: dict) -> str:
    columns = list(dict.fromkeys(column for row in run["rows"] for column in row))
    words = [column.replace("_", " ") for column in columns]
    lines = [_line(words), _line(["---"] * len(columns))]
    lines += [_line([_cell(row.get(column)) for column in columns]) for row in run["rows"]]
    # a run that was stopped and went on may be of several
    commits = [commit[:9] for commit in run.get("commits") or [run["commit"] or "unknown"]]
    code = (
        f"{'commits' if len(commits) > 1 else 'commit'} {', '.join(commits)}{' with changes' if run['dirty'] else ''}"
    )
    triton = f", triton {run['triton']}" if run["triton"] else ""
    lines += [
        "",
        f"*{run['device']}, {run['threads']} threads; torch {run['torch']}{triton}, python {run['python']}; "
        f"{code}, {run['date'][:10]}.*",
        "",
    ]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    """Three digits of a fraction; whole numbers with commas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, dict):
        return " / ".join(_cell(item) for item in value.values())
    return str(value).replace("|", "\\|")


def refresh(path: Path, folder: Path = RESULTS) -> bool:
    """Rewrite the tables between the markers of `path`; says whether anything changed."""
    before = path.read_text("utf-8")
    after = MARKED.sub(lambda match: f"{match[1]}{_between(match, folder)}{match[4]}", before)
    if after != before:
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.write_text(after, "utf-8")
        os.replace(temporary, path)
    return after != before


def _between(match: re.Match[str], folder: Path) -> str:
    is_missing = match[2] and not (folder / f"{match[3]}.json").exists()
    return "*Not measured yet.*\n" if is_missing else table(match[3], folder)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["README.md"]:
        print(f"{name}: {'refreshed' if refresh(ROOT / name) else 'as it was'}")
