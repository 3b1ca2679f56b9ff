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
from datapruner.cli import console
from datapruner.cli.evaluation_view import TrainingLines, show_result
from datapruner.cli.options import (
    OUTPUT_OPTIONS,
    SOURCE_OPTIONS,
    STEP_OPTIONS,
    Words,
    output_of,
    rules_of,
    source_of,
    told,
    with_options,
)
from datapruner.corpus.remote_outputs import local_path, url_of
from datapruner.evaluation import settings_yaml
from datapruner.evaluation.evaluate import n_trainings
from datapruner.output import pruning
from datapruner.output.report import page
from datapruner.recipe import recipe_yaml
from datapruner.recipe.dry_run import plan
from datapruner.recipe.recipe import Recipe
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

Files = Annotated[
    list[str],
    typer.Argument(
        help="Files of one format (JSONL, JSON, Parquet, CSV, Arrow, text), folders of them or of images, globs, URLs."
    ),
]
Scorers = Annotated[
    list[str],
    typer.Option(
        "--scorer",
        help=told('[name=]method:field=value,... as in "perplexity:window=512"; embedders too; may be repeated.'),
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(help='Condition before the selector, as in "int_score >= 3"; may be repeated.'),
]
Engine = Annotated[str, typer.Option(help='What runs the scorers, as in "local:workers=4".')]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and what it may cost; do nothing.")]
Folder = Annotated[
    str, typer.Option(help="Folder, or URL, for kept and dropped rows, selection, report, card and recipe.")
]


@app.command()
@with_options(source=SOURCE_OPTIONS)
def score(
    files: Files,
    scorer: Scorers,
    out: Annotated[str, typer.Option(help="Folder of the score table; what is there is not scored again.")],
    source: Words,
    engine: Engine = "local",
    rows: Annotated[str | None, typer.Option(help="Selection: only the rows that it keeps are scored.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Score every row into a table; a killed run goes on where it stopped."""
    with _clear_errors():
        corpus = source_of(files, source)
        if dry_run:
            output = datapruner.Output(out, scores=out)
            console.show_plan(plan(Recipe(corpus, tuple(scorer), (), output, engine)))
        else:
            chosen = None if rows is None else datapruner.Selection.load(rows)
            console.show_table(datapruner.score(corpus, scorer, out, engine, chosen))


@app.command()
@with_options(step=STEP_OPTIONS)
def select(
    tables: Annotated[
        list[str], typer.Argument(metavar="TABLE...", help="Folder that `score` wrote; several share one budget.")
    ],
    out: Annotated[list[str], typer.Option(help="Selection to write, a Parquet file; one for each table.")],
    step: Words,
    where: Where = None,
    within: Annotated[
        list[str] | None, typer.Option(help="Earlier selection: only the rows it keeps compete; one for each table.")
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="The corpus, for vectors that only it has.")] = None,
) -> None:
    """Decide from the scores which rows are kept; takes seconds, reads no text."""
    with _clear_errors():
        rules, before = rules_of(step, where or ()), within or []
        if len(out) != len(tables) or len(before) not in (0, len(tables)):
            raise ValueError(
                f"want an --out for each of {len(tables)} tables, and as many --within or none, got {len(out)} and "
                f"{len(before)}"
            )
        for place in (local_path(path) for path in out if url_of(path) is None):
            if place.exists() or place.parent.is_dir():
                check_file(place, replaces=is_selection, inputs=[*tables, *before])
        kept: list[datapruner.Selection] | None = [datapruner.Selection.load(path) for path in before] or None
        for rule in rules:
            if len(tables) == 1:
                only = None if kept is None else kept[0]
                scores = datapruner.ScoreTable(tables[0], source or None)
                kept = [datapruner.select(scores, rule.selector, rule.by, rule.keep, rule.per, only)]
            else:
                kept = [*datapruner.select_together(tables, rule.selector, rule.by, rule.keep, rule.per, kept)]
        for selection, path in zip(kept or [], out, strict=True):
            selection.save(path)
            console.show_selection(selection, path)


@app.command()
@with_options(output=OUTPUT_OPTIONS)
def write(
    files: Files,
    selection: Annotated[str, typer.Option(help="File that `select` wrote.")],
    out: Folder,
    output: Words,
    nested: Annotated[bool, typer.Option("--nested", help="Enter the folders inside a folder.")] = False,
) -> None:
    """Write the kept rows as they stood, and the dropped ones with their reasons."""
    with _clear_errors():
        decided = datapruner.Selection.load(selection)
        datapruner.write(datapruner.Source([*files], nested=nested), decided, output_of(out, output))
        console.show_selection(decided, out)


@app.command()
@with_options(step=STEP_OPTIONS, source=SOURCE_OPTIONS, output=OUTPUT_OPTIONS)
def prune(
    files: Files,
    scorer: Scorers,
    out: Folder,
    step: Words,
    source: Words,
    output: Words,
    where: Where = None,
    engine: Engine = "local",
    dry_run: DryRun = False,
) -> None:
    """Score, select and write in one go."""
    with _clear_errors():
        rules = rules_of(step, where or ())
        _run(Recipe(source_of(files, source), tuple(scorer), rules, output_of(out, output), engine), dry_run)


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="YAML file, as every output folder has one (recipe.yaml).")],
    out: Annotated[str | None, typer.Option(help="Output folder, or URL, instead of the recipe's.")] = None,
    scores: Annotated[str | None, typer.Option(help="Folder of the score table, instead of the recipe's.")] = None,
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
        if output is not None and url_of(output.path) is None:
            check_not_input(local_path(output.path), [recipe])
        _run(dataclasses.replace(read, out=output), dry_run)


@app.command()
def evaluate(
    settings: Annotated[Path, typer.Argument(help="YAML file: corpus, held-out corpus, proxy, scorers, candidates.")],
    out: Annotated[Path, typer.Option(help="Folder for scores, trainings, result.json and report.html.")],
    seeds: Annotated[int | None, typer.Option(help="Trainings of each kind, instead of the file's.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of each training, instead of the file's.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Say whether a selection beats a random draw and is as good as everything, at equal training steps.

    A killed run goes on where it stopped: scores and trainings that are there are not made again.
    """
    with _clear_errors():
        read = settings_yaml.load(settings)
        if seeds is not None:
            read = dataclasses.replace(read, seeds=read.seeds.with_training(seeds))
        if steps is not None:
            read = dataclasses.replace(read, steps=steps)
        check_not_input(out, [settings])
        if dry_run:
            console.show_line(f"would train at most {n_trainings(read):,} times {read.steps:,} steps of {read.proxy}")
        else:
            show_result(datapruner.evaluate(read, out, TrainingLines()), out / "report.html")


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
    """List the scorers, embedders, selectors and proxies with their fields, and the engines."""
    with _clear_errors():
        console.show_methods()


def _run(recipe: Recipe, dry_run: bool) -> None:
    if dry_run:
        console.show_plan(plan(with_named_columns(recipe)))
    else:
        selection = pruning.run(recipe)
        console.show_selection(selection, recipe.out.path if recipe.out else ".")
        console.show_line(f"kept rows: {kept_hash(selection)}")


@contextmanager
def _clear_errors() -> Iterator[None]:
    """What a user can mend is one line on stderr (`user_errors`); warnings stand in the tables that are shown."""
    stopped = "stopped; the same command goes on where this one was"
    with user_errors(console.show_error, stopped), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
