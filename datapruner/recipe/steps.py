"""The steps of a recipe: checked before anything is read, and taken one after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from datapruner.corpus.source import Source
from datapruner.recipe.recipe import Recipe, Rule
from datapruner.scoring.manifest import MANIFEST
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer_columns import scorers_by_column
from datapruner.selection.budgets import Per
from datapruner.selection.select import as_selector, check_keep_ratio, default_rule, select
from datapruner.selection.selection import Selection


def select_in_steps(table: ScoreTable, steps: Sequence[Rule]) -> Selection:
    """Each step among what the earlier ones keep."""
    selection: Selection | None = None
    for step in steps:
        selection = select(table, step.selector, step.by, step.keep, step.per, selection)
    if selection is None:
        raise ValueError("want at least one step of selecting, got none")
    return selection


def with_named_columns(recipe: Recipe) -> Recipe:
    """`recipe` with the column and selector of every step; raises ValueError, before anything is read, for what cannot
    work."""
    columns = scorers_by_column(recipe.scorers)
    path = None if recipe.out is None else recipe.out.table_path
    table = ScoreTable(path) if path is not None and (path / MANIFEST).exists() else None
    defaults = (
        {} if table is None else {name: table.manifest["columns"][name]["selector"] for name in table.score_columns}
    )
    made = {name: scorer.default_selector for name, scorer in columns.items() if not scorer.is_vector}
    if not recipe.select:
        raise ValueError("want at least one step of selecting, got none")
    steps = tuple(_named(step, [*made], {**defaults, **made}, recipe.source) for step in recipe.select)
    return dataclasses.replace(recipe, select=steps)


def _named(step: Rule, made: Sequence[str], defaults: Mapping[str, str], source: Source) -> Rule:
    """`step` with its column, one of those that are `made` now where it names none, and its selector."""
    wanted = [*step.by] if isinstance(step.by, Mapping) else [] if step.by is None else [step.by]
    for name in wanted:
        if name not in defaults:
            raise ValueError(f"want by=<column>, one of {', '.join(defaults) or 'none'}, got {name!r}")
    by = step.by
    given = None if step.selector is None else as_selector(step.selector)
    if by is None and (given is None or (given.needs_scores and given.default_by() is None)):
        if len(made) != 1:
            raise ValueError(f"want by=<column>, one of {', '.join(made) or 'none'}")
        by = made[0]
    if given is None:
        given = default_rule("top" if isinstance(by, Mapping) else defaults[str(by)], step.keep, step.per)
    check_keep_ratio(given, step.keep, step.per)
    column = step.per.column if isinstance(step.per, Per) else step.per
    if column is not None and column != source.group:
        raise ValueError(f"want the source's group column as per, got per={column!r} and group={source.group!r}")
    return dataclasses.replace(step, by=by, selector=step.selector or given)
