"""The recipe that is written beside pruned rows: from it `datapruner run` keeps the same rows again.

It is made from the selection alone, which knows its steps, and the source's paths, relative to the recipe's folder;
where the score table is at hand, the columns that other columns and selectors read are in it too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from datapruner.corpus.remote_files import is_url
from datapruner.corpus.source import Source
from datapruner.recipe import recipe_yaml
from datapruner.recipe.recipe import Expected, Recipe, Rule
from datapruner.recipe.rule_options import BUDGET_OPTIONS, rule_from_options
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer_columns import EMBEDDERS, SCORERS, scorers_by_column
from datapruner.selection.kept_hash import kept_hash
from datapruner.selection.select import SELECTORS, as_selector
from datapruner.selection.selection import Selection
from datapruner.selection.step import Step
from prunekernels import registry, spec


def recipe_text(source: Source, selection: Selection, table: ScoreTable | None, folder: Path | None) -> str | None:
    """The recipe of `selection`, to be read in `folder` (None: elsewhere), as YAML.

    None where no recipe can say it: for rows in memory, which have no path, for methods of the caller's own, and for a
    budget that several tables shared.
    """
    path = _path(source, folder)
    if path is None or not _are_methods_known(selection) or any(step["tables"] > 1 for step in selection.steps):
        return None
    found = Recipe(
        source=Source(
            path,
            chunk_rows=selection.input["chunk_rows"],
            tokens=source.tokens,
            chunk_bytes=selection.input.get("chunk_bytes", source.chunk_bytes),
            nested=source.nested,
        ).as_recorded(selection.input["fields"]),
        scorers=tuple(_scorers(selection, table)),
        select=tuple(_rule(step) for step in selection.steps),
        expect=Expected(selection.n_kept, kept_hash(selection)),
    )
    return "# datapruner run recipe.yaml --out FOLDER\n" + recipe_yaml.dump(found)


def _are_methods_known(selection: Selection) -> bool:
    scorers = {column["spec"] for step in selection.steps for column in step["columns"].values()}
    known = {*registry.names(SCORERS), *registry.names(EMBEDDERS)}
    return all(spec.parse(text).name in known for text in scorers) and all(
        spec.parse(step["selector"]).name in registry.names(SELECTORS) for step in selection.steps
    )


def _path(source: Source, folder: Path | None) -> str | list[str] | None:
    """What `source` was given, its paths as `folder` sees them; addresses stay."""
    given = source.path
    if not isinstance(given, str | Path | list | tuple):
        return None
    paths = [given] if isinstance(given, str | Path) else given

    def seen_from(path: Path) -> str:
        return (path.absolute() if folder is None else Path(os.path.relpath(path, folder))).as_posix()

    seen = [str(path) if is_url(path) else seen_from(Path(path)) for path in paths]
    return seen[0] if len(seen) == 1 else seen


def _scorers(selection: Selection, table: ScoreTable | None) -> list[str]:
    """Text forms of the columns that the steps used, and of those that these read."""
    specs = {name: column["spec"] for step in selection.steps for name, column in step["columns"].items()}
    if table is not None:
        made = table.manifest["columns"]
        waiting = [*_read_by_selectors(selection), *_read_by_scorers(specs)]
        while waiting:
            name = waiting.pop()
            if name in made and name not in specs:
                specs[name] = made[name]["spec"]
                waiting += _read_by_scorers({name: specs[name]})
    return [text if spec.parse(text).name == name else f"{name}={text}" for name, text in specs.items()]


def _read_by_scorers(specs: Mapping[str, str]) -> list[str]:
    """Columns, or fields of the source, that the scorers read."""
    built = scorers_by_column([f"{name}={text}" for name, text in specs.items()])
    return [name for scorer in built.values() for name in scorer.vectors()]


def _read_by_selectors(selection: Selection) -> list[str]:
    """What stands in the selectors' fields: among it are the columns that they read beside the score."""
    rules = [as_selector(step["selector"]) for step in selection.steps]
    return [value for rule in rules for value in vars(rule).values() if isinstance(value, str)]


def _rule(step: Step) -> Rule:
    asked = {word: step["budget"].get(field) for word, field in BUDGET_OPTIONS.items()}
    by, groups = step["ranks"] or step["by"], {word: step[word] for word in ("per", "quota", "counts")}
    return rule_from_options(
        {"selector": step["selector"], "by": by, **asked, "counted_by": step["counted_by"], **groups}
    )
