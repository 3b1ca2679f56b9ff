"""`contextpruner prepare` and `train`: from question sets and an encoder to a pruner, by one recipe."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated

import typer

from contextpruner.cli.errors import clear_errors, say_done
from contextpruner.training.examples.build import build_examples
from contextpruner.training.packed.shards import pack_examples
from contextpruner.training.recipe import Recipe, read_recipe
from contextpruner.training.student.encoder import make_student
from contextpruner.training.trainer.loop import train as train_model

RecipeFile = Annotated[Path, typer.Argument(help="A recipe in YAML (docs/training_a_pruner.md).")]
Sources = Annotated[
    str | None, typer.Option("--sources", help="The folder of the question sets, in place of the recipe's.")
]
Work = Annotated[str | None, typer.Option("--work", help="The folder that is worked in, in place of the recipe's.")]


def prepare(
    recipe: RecipeFile,
    sources: Sources = None,
    work: Work = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make anew what is there.")] = False,
) -> None:
    """Make the examples, the student and the packed rows of a recipe; what is there already is kept."""
    with clear_errors():
        _prepared(_recipe(recipe, sources, work), overwrite)


def train(
    recipe: RecipeFile,
    sources: Sources = None,
    work: Work = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda; by default the GPU where there is one.")
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", help="Save and stop then; the same command goes on.")
    ] = math.inf,
) -> None:
    """Train a pruner by a recipe, or go on where a run stopped; what is not prepared is, first."""
    with clear_errors():
        settings = _recipe(recipe, sources, work)
        _prepared(settings, overwrite=False)
        best = train_model(settings, device=device, minutes=minutes, listener=_say)
        say_done(best, "the best pruner so far")


def _recipe(path: Path, sources: str | None, work: str | None) -> Recipe:
    read = read_recipe(path)
    return dataclasses.replace(read, sources=sources or read.sources, work=work or read.work)


def _prepared(recipe: Recipe, overwrite: bool) -> None:
    steps = {"examples": build_examples, "student": make_student, "packed": pack_examples}
    for name, make in steps.items():
        folder = recipe.folder(name)  # type: ignore[arg-type]
        if overwrite or not folder.is_dir():
            make(recipe, overwrite=overwrite)
            say_done(folder, "made")


def _say(line: dict[str, float]) -> None:
    typer.echo(json.dumps({name: round(value, 6) for name, value in line.items()}))
