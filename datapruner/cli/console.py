"""What the command line shows: tables of numbers for people."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape as markup
from rich.table import Table

from datapruner.corpus.bad_rows import SKIPPED, count_skipped
from datapruner.evaluation.proxy import Proxy
from datapruner.recipe.dry_run import Plan
from datapruner.scoring.engine import Engine
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Scorer
from datapruner.selection.selection import Selection
from datapruner.selection.selector import Selector
from prunekernels import registry
from prunekernels.io.escape import one_line

QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
# what is told of each kind: of the others their number
MOST_FILES, MOST_LINES = 20, 40


def plain(value: object, most: int = 1000) -> str:
    """What comes from elsewhere, in one line that steers neither the terminal nor rich's mark-up."""
    return markup(one_line(str(value), most))


def show_table(table: ScoreTable) -> None:
    """Rows, input files, and for each column quantiles and how it was made."""
    console = Console()
    used = table.manifest["input"]
    names = ", ".join(file["name"] for file in used["files"][:3]) + (" ..." if len(used["files"]) > 3 else "")
    if table.manifest["rows"] is None:
        console.print(f"{plain(table.path)}: {plain(names)} was not read to its end yet")
        return
    console.print(f"{plain(table.path)}: {table.n_rows:,} rows of {plain(names)}")
    _say_skipped(console, table.path)
    shown = Table("column", box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for q in QUANTILES:
        shown.add_column("min" if q == 0 else "max" if q == 1 else f"{q:.0%}", justify="right")
    # a narrow terminal takes from the numbers what the names need
    shown_names = table.score_columns[:MOST_LINES]
    shown.columns[0].min_width = min(60, max(map(len, shown_names), default=0))
    for name in shown_names:
        values = np.nanquantile(table.scores(name), QUANTILES)
        shown.add_row(plain(name, 60), *map(_number, values))
    if shown_names:
        console.print(shown)
    _say_more(console, len(table.score_columns) - MOST_LINES, "scores")
    columns = sorted(table.manifest["columns"].items())
    for name, column in columns[:MOST_LINES]:
        state = "" if column["complete"] else " - not finished: run the same command again"
        console.print(f"[bold]{plain(name, 60)}[/]: {plain(column['spec'])}; {plain(column['direction'])}{state}")
    _say_more(console, len(columns) - MOST_LINES, "columns")


def show_lineage(table: ScoreTable) -> None:
    """The input files with their hashes, which fields were used, how far each column is and what it was made by."""
    console = Console(soft_wrap=True)
    used = table.manifest["input"]
    console.print("\n[bold]input[/]")
    for file in used["files"][:MOST_FILES]:
        of = f" (of {file['of']})" if "of" in file else ""
        line = f"{file['name']}: {_figure(file['bytes'])} bytes, BLAKE2b {file['blake2b']}{of}"
        console.print(f"  {plain(line)}", highlight=False)
    _say_more(console, len(used["files"]) - MOST_FILES, "files")
    fields = ", ".join(f"{key} {name}" for key, name in used["fields"].items() if name is not None)
    console.print(f"  fields: {plain(fields)}", highlight=False)
    console.print("[bold]columns[/]")
    columns = sorted(table.manifest["columns"].items())
    for name, column in columns[:MOST_LINES]:
        covered = "not begun" if table.manifest["rows"] is None else f"{table.covered(name):,} of {table.n_rows:,} rows"
        hashes = "".join(f", {key} {value}" for key, value in column["identity"].items())
        line = f"{name}: {covered}; version {column['version']}, prunekit {column['package']}{hashes}"
        console.print(f"  {plain(line)}", highlight=False)
    _say_more(console, len(columns) - MOST_LINES, "columns")


def show_selection(selection: Selection, path: str | Path) -> None:
    """How many rows are kept and why the others are not."""
    console = Console()
    rows = selection.n_rows
    shown = Table("rows", "share", "")
    shown.columns[0].justify = shown.columns[1].justify = "right"
    shown.add_row(f"{selection.n_kept:,}", f"{selection.n_kept / rows:.1%}", "[green]kept[/]", end_section=True)
    reasons = sorted(selection.counts().items(), key=lambda item: (-item[1], item[0]))
    for reason, count in reasons[:MOST_LINES]:
        shown.add_row(f"{count:,}", f"{count / rows:.1%}", f"[red]dropped[/]: {plain(reason)}")
    if others := reasons[MOST_LINES:]:
        count = sum(number for _, number in others)
        shown.add_row(f"{count:,}", f"{count / rows:.1%}", f"[red]dropped[/] for {len(others):,} other reasons")
    console.print(shown)
    warnings = [*dict.fromkeys(selection.warnings)]
    for warning in warnings[:MOST_LINES]:
        console.print(f"[yellow]warning:[/] {plain(warning)}")
    _say_more(console, len(warnings) - MOST_LINES, "warnings")
    _say_skipped(console, Path(path))
    console.print(f"{plain(path)}")


def _say_skipped(console: Console, folder: Path) -> None:
    if skipped := count_skipped(folder):
        console.print(f"[yellow]skipped:[/] {skipped:,} rows that could not be used, see {plain(folder / SKIPPED)}")


def show_plan(planned: Plan) -> None:
    """What a run would read, make and keep. Estimates say that they are."""
    console = Console()
    about = "" if planned.rows_exact else "about "
    known = [size for _, size in planned.files if size is not None]
    size = f", {_bytes(sum(known))}" if known else ""
    names = ", ".join(name for name, _ in planned.files[:3]) + (" ..." if len(planned.files) > 3 else "")
    console.print(f"would read {about}{planned.rows:,} rows of {plain(names)}{size}")
    shown = Table("column", "", "time (estimate)", "measured on")
    for column in planned.columns[:MOST_LINES]:
        name = plain(column.name, 60)
        if column.there:
            shown.add_row(name, "is there", "", "")
        elif column.seconds is None:
            shown.add_row(name, "would be made", f"unknown: {plain(column.problem or '')}", "")
        else:
            shown.add_row(
                plain(column.name, 60), "would be made", _duration(column.seconds), f"{column.measured_on:,} rows"
            )
    console.print(shown)
    _say_more(console, len(planned.columns) - MOST_LINES, "columns")
    if planned.table is not None:
        room = f"would take about {_bytes(planned.table_bytes)} more" if planned.table_bytes else "is there"
        console.print(f"score table {plain(planned.table)} {room}")
    if planned.selects:
        about = "" if planned.kept_exact else "about "
        kept = "as many rows as the scores decide" if planned.kept is None else f"{about}{planned.kept:,} rows"
        console.print(f"would keep {kept}; written are at most {_bytes(sum(known))}" if known else f"would keep {kept}")
    if planned.replaces:
        gone = [Path(path) for path in planned.replaces]
        names = ", ".join(path.name for path in gone[:MOST_FILES])
        console.print(f"would replace {plain(gone[0].parent)}: {plain(names)}", soft_wrap=True)
        _say_more(console, len(gone) - MOST_FILES, "files")
    if planned.refused is not None:
        console.print(f"[bold red]would stop:[/] {plain(planned.refused)}", soft_wrap=True)
    console.print("dry run: nothing was written")


def show_methods() -> None:
    """Every scorer, embedder, selector, engine and proxy: its fields with their defaults, and its rule."""
    console = Console()
    kinds: list[tuple[str, type[Scorer] | type[Selector] | type[Engine] | type[Proxy]]] = [
        ("scorers", Scorer),
        ("embedders", Scorer),
        ("selectors", Selector),
        ("engines", Engine),
        ("evaluation.proxies", Proxy),
    ]
    for title, kind in kinds:
        shown = Table("name", "rule", "fields and defaults", title=title, title_justify="left", show_lines=True)
        methods = registry.methods(f"datapruner.{title}", kind)
        for name, method in methods.found.items():
            fields = [f"{field.name}={field.default}" for field in dataclasses.fields(method) if field.init]
            rule = next(iter((method.__doc__ or "").strip().splitlines()), "")
            shown.add_row(plain(name, 60), plain(rule), "\n".join(map(plain, fields)))
        console.print(shown)
        for name, reason in methods.failed.items():
            console.print(f"[yellow]left out:[/] {plain(name)}: {plain(reason)}", soft_wrap=True)


def show_line(text: str) -> None:
    """One line on stdout."""
    Console(soft_wrap=True).print(plain(text), highlight=False)


def _say_more(console: Console, others: int, kind: str) -> None:
    if others > 0:
        console.print(f"  and {others:,} more {kind}")


def _figure(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


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
    Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {plain(text)}", highlight=False)
