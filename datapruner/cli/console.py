"""What the command line shows: tables of numbers for people."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from datapruner.recipe.dry_run import Plan
from datapruner.scoring.engine import Engine
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Scorer
from datapruner.selection.selection import Selection
from datapruner.selection.selector import Selector
from prunekernels import registry
from prunekernels.io.escape import one_line

QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
# files that are named
MOST_FILES = 20


def show_table(table: ScoreTable) -> None:
    """Rows, input files, and for each column quantiles and how it was made."""
    console = Console()
    used = table.manifest["input"]
    names = ", ".join(file["name"] for file in used["files"][:3]) + (" ..." if len(used["files"]) > 3 else "")
    if table.manifest["rows"] is None:
        console.print(f"{escape(str(table.path))}: {escape(names)} was not read to its end yet")
        return
    console.print(f"{escape(str(table.path))}: {table.n_rows:,} rows of {escape(names)}")
    shown = Table("column", box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for q in QUANTILES:
        shown.add_column("min" if q == 0 else "max" if q == 1 else f"{q:.0%}", justify="right")
    # a narrow terminal takes from the numbers what the names need
    shown.columns[0].min_width = max(map(len, table.score_columns), default=0)
    for name in table.score_columns:
        values = np.quantile(table.scores(name), QUANTILES)
        shown.add_row(name, *map(_number, values))
    if table.score_columns:
        console.print(shown)
    for name, column in sorted(table.manifest["columns"].items()):
        state = "" if column["complete"] else " - not finished: run the same command again"
        console.print(f"[bold]{name}[/]: {escape(column['spec'])}; {column['direction']}{state}")


def show_lineage(table: ScoreTable) -> None:
    """The input files with their hashes, which fields were used, how far each column is and what it was made by."""
    console = Console(soft_wrap=True)
    used = table.manifest["input"]
    console.print("\n[bold]input[/]")
    for file in used["files"][:MOST_FILES]:
        of = f" (of {file['of']})" if "of" in file else ""
        line = f"{file['name']}: {file['bytes']:,} bytes, BLAKE2b {file['blake2b']}{of}"
        console.print(f"  {escape(line)}", highlight=False)
    if len(used["files"]) > MOST_FILES:
        console.print(f"  and {len(used['files']) - MOST_FILES:,} more files")
    fields = ", ".join(f"{key} {name}" for key, name in used["fields"].items() if name is not None)
    console.print(f"  fields: {escape(fields)}", highlight=False)
    console.print("[bold]columns[/]")
    for name, column in sorted(table.manifest["columns"].items()):
        covered = "not begun" if table.manifest["rows"] is None else f"{table.covered(name):,} of {table.n_rows:,} rows"
        hashes = "".join(f", {key} {value}" for key, value in column["identity"].items())
        line = f"{name}: {covered}; version {column['version']}, prunekit {column['package']}{hashes}"
        console.print(f"  {escape(line)}", highlight=False)


def show_selection(selection: Selection, path: Path) -> None:
    """How many rows are kept and why the others are not."""
    console = Console()
    rows = selection.n_rows
    shown = Table("rows", "share", "")
    shown.columns[0].justify = shown.columns[1].justify = "right"
    shown.add_row(f"{selection.n_kept:,}", f"{selection.n_kept / rows:.1%}", "[green]kept[/]", end_section=True)
    for reason, count in sorted(selection.counts().items(), key=lambda item: (-item[1], item[0])):
        shown.add_row(f"{count:,}", f"{count / rows:.1%}", f"[red]dropped[/]: {escape(reason)}")
    console.print(shown)
    for warning in dict.fromkeys(selection.warnings):
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    console.print(f"{escape(str(path))}")


def show_plan(planned: Plan) -> None:
    """What a run would read, make and keep. Estimates say that they are."""
    console = Console()
    about = "" if planned.rows_exact else "about "
    known = [size for _, size in planned.files if size is not None]
    size = f", {_bytes(sum(known))}" if known else ""
    names = ", ".join(name for name, _ in planned.files[:3]) + (" ..." if len(planned.files) > 3 else "")
    console.print(f"would read {about}{planned.rows:,} rows of {escape(names)}{size}")
    shown = Table("column", "", "time (estimate)", "measured on")
    for column in planned.columns:
        if column.there:
            shown.add_row(column.name, "is there", "", "")
        elif column.seconds is None:
            shown.add_row(column.name, "would be made", f"unknown: {escape(column.problem or '')}", "")
        else:
            shown.add_row(column.name, "would be made", _duration(column.seconds), f"{column.measured_on:,} rows")
    console.print(shown)
    if planned.table is not None:
        room = f"would take about {_bytes(planned.table_bytes)} more" if planned.table_bytes else "is there"
        console.print(f"score table {escape(str(planned.table))} {room}")
    if planned.selects:
        about = "" if planned.kept_exact else "about "
        kept = "as many rows as the scores decide" if planned.kept is None else f"{about}{planned.kept:,} rows"
        console.print(f"would keep {kept}; written are at most {_bytes(sum(known))}" if known else f"would keep {kept}")
    console.print("dry run: nothing was written")


def show_methods() -> None:
    """Every scorer, embedder, selector and engine: its fields with their defaults, and its rule."""
    console = Console()
    kinds: list[tuple[str, type[Scorer] | type[Selector] | type[Engine]]] = [
        ("scorers", Scorer),
        ("embedders", Scorer),
        ("selectors", Selector),
        ("engines", Engine),
    ]
    for title, kind in kinds:
        shown = Table("name", "rule", "fields and defaults", title=title, title_justify="left", show_lines=True)
        listed = registry.methods(f"datapruner.{title}", kind)
        for name, method in listed.found.items():
            fields = [f"{field.name}={field.default}" for field in dataclasses.fields(method) if field.init]
            rule = (method.__doc__ or "").strip().splitlines()[0]
            shown.add_row(name, escape(rule), escape("\n".join(fields)))
        console.print(shown)
        for reason in listed.failed.values():
            console.print(escape(one_line(f"left out: {reason}")))


def show_line(text: str) -> None:
    """One line on stdout."""
    Console(soft_wrap=True).print(escape(text), highlight=False)


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _bytes(size: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under 1 s"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:,.1f} h"


def show_error(text: str) -> None:
    """One line on stderr."""
    Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(text)}", highlight=False)
