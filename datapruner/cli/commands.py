"""The command line: the same words and options as the Python functions."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import datapruner
from datapruner import pruning
from datapruner.cli import console
from datapruner.cli.source_options import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    ChunkBytes,
    ChunkRows,
    Files,
    Group,
    Image,
    Label,
    Nested,
    OnError,
    Text,
    TextRows,
    Tokens,
    Uid,
    unescaped,
)
from datapruner.output.report import page
from datapruner.recipe import recipe_yaml
from datapruner.recipe.dry_run import plan
from datapruner.recipe.recipe import Recipe, Rule
from datapruner.recipe.rule_options import parse_weights, rule_from_options
from datapruner.recipe.steps import with_named_columns
from datapruner.selection.input_check import check_same_input
from datapruner.selection.kept_hash import kept_hash
from datapruner.selection.selection_file import is_selection
from prunekernels.io.errors import user_errors
from prunekernels.io.outputs import check_file, check_not_input

app = typer.Typer(
    help="Score a corpus once, select from it many times, write what is kept and why the rest is not.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Scorers = Annotated[
    list[str],
    typer.Option(
        "--scorer", help='[name=]method:field=value,... as in "perplexity:window=512"; embedders too; may be repeated.'
    ),
]
Engine = Annotated[str, typer.Option(help='What runs the scorers, as in "local:workers=4".')]
KeepRatio = Annotated[float | None, typer.Option(help="Fraction of the rows that is kept, in (0, 1].")]
KeepRows = Annotated[int | None, typer.Option(help="Rows that are kept.")]
KeepTokens = Annotated[int | None, typer.Option(help="Tokens that are kept, at most.")]
KeepTokenRatio = Annotated[float | None, typer.Option(help="Fraction of the tokens that is kept, in (0, 1].")]
By = Annotated[str | None, typer.Option(help='Column to select by, or weights of ranks as in "a=0.7,b=-0.3".')]
Selector = Annotated[str, typer.Option("--selector", help='Selector, as in "middle" or "threshold:minimum=0.2".')]
Per = Annotated[str | None, typer.Option(help="Group field: select inside each group.")]
Quota = Annotated[str, typer.Option(help='How groups share what is kept: "kept", "equal" or "web=0.5,book=0.5".')]
Counts = Annotated[str | None, typer.Option(help='Rows that each group keeps, as in "web=500,book=200".')]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
NoDropped = Annotated[bool, typer.Option("--no-dropped", help="Do not write the dropped rows.")]
Index = Annotated[bool, typer.Option("--index", help="List the row numbers and uids of the kept rows, too.")]
NoReport = Annotated[bool, typer.Option("--no-report", help="Do not write report.html.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and what it may cost; do nothing.")]


@app.command()
def score(
    files: Files,
    scorer: Scorers,
    out: Annotated[Path, typer.Option(help="Folder of the score table; what is there is not scored again.")],
    text: Text = "text",
    uid: Uid = None,
    group: Group = None,
    label: Label = None,
    image: Image = None,
    tokens: Tokens = None,
    chunk_rows: ChunkRows = CHUNK_ROWS,
    chunk_bytes: ChunkBytes = CHUNK_BYTES,
    nested: Nested = False,
    text_rows: TextRows = "line",
    on_error: OnError = "refuse",
    engine: Engine = "local",
    dry_run: DryRun = False,
) -> None:
    """Score every row into a table; a killed run goes on where it stopped."""
    with _clear_errors():
        fields = (unescaped(text), uid, group, label, chunk_rows, image, tokens, chunk_bytes)
        source = datapruner.Source([*files], *fields, nested, text_rows, on_error)
        if dry_run:
            output = datapruner.Output(out, scores=out)
            console.show_plan(plan(Recipe(source, tuple(scorer), (), output, engine)))
        else:
            console.show_table(datapruner.score(source, scorer, out, engine))


@app.command()
def select(
    table: Annotated[Path, typer.Argument(help="Folder that `score` wrote.")],
    out: Annotated[Path, typer.Option(help="Selection to write, a Parquet file.")],
    selector: Selector = "middle",
    by: By = None,
    keep_ratio: KeepRatio = None,
    keep_rows: KeepRows = None,
    keep_tokens: KeepTokens = None,
    keep_token_ratio: KeepTokenRatio = None,
    per: Per = None,
    quota: Quota = "kept",
    counts: Counts = None,
    within: Annotated[Path | None, typer.Option(help="Earlier selection: only the rows it keeps compete.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="The corpus, for vectors that only it has.")] = None,
) -> None:
    """Decide from the scores which rows are kept; takes seconds, reads no text."""
    with _clear_errors():
        rule = _rule(selector, by, (keep_ratio, keep_rows, keep_tokens, keep_token_ratio), (per, quota, counts))
        if out.exists() or out.parent.is_dir():
            check_file(out, replaces=is_selection, inputs=[table, *([] if within is None else [within])])
        scores = datapruner.ScoreTable(table, source or None)
        selection = datapruner.select(scores, rule.selector, rule.by, rule.keep, rule.per, within)
        selection.save(out)
        console.show_selection(selection, out)


@app.command()
def write(
    files: Files,
    selection: Annotated[Path, typer.Option(help="File that `select` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for kept and dropped rows, selection, report, card and recipe.")],
    scores: Annotated[
        Path | None, typer.Option(help="Folder of the score table; the report says more with it.")
    ] = None,
    overwrite: Overwrite = False,
    no_dropped: NoDropped = False,
    no_report: NoReport = False,
    index: Index = False,
    nested: Nested = False,
) -> None:
    """Write the kept rows as they stood, and the dropped ones with their reasons."""
    with _clear_errors():
        decided = datapruner.Selection.load(selection)
        output = datapruner.Output(out, overwrite, not no_dropped, scores, not no_report, index)
        datapruner.write(datapruner.Source([*files], nested=nested), decided, output)
        console.show_selection(decided, out)


@app.command()
def prune(
    files: Files,
    scorer: Scorers,
    out: Annotated[Path, typer.Option(help="Folder for kept and dropped rows, selection, report, card and recipe.")],
    selector: Selector = "middle",
    by: By = None,
    keep_ratio: KeepRatio = None,
    keep_rows: KeepRows = None,
    keep_tokens: KeepTokens = None,
    keep_token_ratio: KeepTokenRatio = None,
    per: Per = None,
    quota: Quota = "kept",
    counts: Counts = None,
    text: Text = "text",
    uid: Uid = None,
    group: Group = None,
    label: Label = None,
    image: Image = None,
    tokens: Tokens = None,
    chunk_rows: ChunkRows = CHUNK_ROWS,
    chunk_bytes: ChunkBytes = CHUNK_BYTES,
    nested: Nested = False,
    text_rows: TextRows = "line",
    on_error: OnError = "refuse",
    engine: Engine = "local",
    scores: Annotated[Path | None, typer.Option(help="Folder of the score table; default: OUT.scores.")] = None,
    overwrite: Overwrite = False,
    no_dropped: NoDropped = False,
    no_report: NoReport = False,
    index: Index = False,
    dry_run: DryRun = False,
) -> None:
    """Score, select and write in one go."""
    with _clear_errors():
        fields = (unescaped(text), uid, group or per, label, chunk_rows, image, tokens, chunk_bytes)
        source = datapruner.Source([*files], *fields, nested, text_rows, on_error)
        output = datapruner.Output(out, overwrite, not no_dropped, scores, not no_report, index)
        rule = _rule(selector, by, (keep_ratio, keep_rows, keep_tokens, keep_token_ratio), (per, quota, counts))
        _run(Recipe(source, tuple(scorer), (rule,), output, engine), dry_run)


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="YAML file, as every output folder has one (recipe.yaml).")],
    out: Annotated[Path | None, typer.Option(help="Output folder, instead of the recipe's.")] = None,
    scores: Annotated[Path | None, typer.Option(help="Folder of the score table, instead of the recipe's.")] = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Do what a recipe says, and check that the kept rows are those it expects."""
    with _clear_errors():
        read = recipe_yaml.load(recipe)
        output = read.out if out is None else dataclasses.replace(read.out or datapruner.Output(out), path=out)
        if output is not None and scores is not None:
            output = dataclasses.replace(output, scores=scores)
        if output is not None and overwrite:
            output = dataclasses.replace(output, overwrite=True)
        if output is not None:
            check_not_input(Path(output.path), [recipe])
        _run(dataclasses.replace(read, out=output), dry_run)


@app.command(name="report")
def report_(
    path: Annotated[Path, typer.Argument(help="Folder that `score`, `write` or `prune` wrote.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    selection: Annotated[Path | None, typer.Option(help="File that `select` wrote; needed with a score table.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="The corpus, for texts; may be repeated.")] = None,
) -> None:
    """Write an HTML page about a selection: scores, groups, reasons, examples and duplicates."""
    with _clear_errors():
        table = datapruner.ScoreTable(path) if (path / "manifest.json").exists() else None
        if table is None and not (path / "selection.parquet").exists():
            raise ValueError(f"{path}: want a folder that `score`, `write` or `prune` wrote")
        if table is not None and selection is None:
            raise ValueError("want --selection beside a score table")
        decided = datapruner.Selection.load(selection or path / "selection.parquet")
        corpus = datapruner.Source([*source]) if source else None
        inputs = [path, *([] if selection is None else [selection])]
        if corpus is not None:
            inputs += corpus.paths()
        page.check_page(out, inputs)
        if corpus is not None:
            check_same_input(corpus, decided)
        page.save(page.render(decided, corpus, table), out, inputs)
        console.show_line(f"{out}")


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Folder that `score` wrote, or file that `select` wrote.")],
) -> None:
    """Show what a score table or a selection holds and how it was made."""
    with _clear_errors():
        if path.is_dir() and not (path / "selection.parquet").exists():
            table = datapruner.ScoreTable(path)
            console.show_table(table)
            console.show_lineage(table)
        else:
            file = path / "selection.parquet" if path.is_dir() else path
            console.show_selection(datapruner.Selection.load(file), file)


@app.command()
def methods() -> None:
    """List the scorers, embedders and selectors with their fields, and the engines."""
    with _clear_errors():
        console.show_methods()


def _rule(
    selector: str,
    by: str | None,
    keep: tuple[float | None, int | None, int | None, float | None],
    groups: tuple[str | None, str, str | None],
) -> Rule:
    ratio, rows, tokens, token_ratio = keep
    per, quota, counts = groups
    words = {
        "selector": selector,
        "by": None if by is None else parse_weights(by),
        "per": per,
        "quota": parse_weights(quota),
    }
    asked = {"keep_ratio": ratio, "keep_rows": rows, "keep_tokens": tokens, "keep_token_ratio": token_ratio}
    return rule_from_options({**words, **asked, "counts": None if counts is None else parse_weights(counts)})


def _run(recipe: Recipe, dry_run: bool) -> None:
    if dry_run:
        console.show_plan(plan(with_named_columns(recipe)))
    else:
        selection = pruning.run(recipe)
        console.show_selection(selection, Path(recipe.out.path if recipe.out else "."))
        console.show_line(f"kept rows: {kept_hash(selection)}")


@contextmanager
def _clear_errors() -> Iterator[None]:
    """What a user can mend is one line on stderr (`user_errors`); warnings stand in the tables that are shown."""
    stopped = "stopped; the same command goes on where this one was"
    with user_errors(console.show_error, stopped), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
