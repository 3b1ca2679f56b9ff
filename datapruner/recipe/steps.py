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
from datapruner.selection.select import as_selector, check_keep_ratio, select
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
    """`recipe` with every step's column named; raises ValueError for what cannot work, before anything is read."""
    columns = scorers_by_column(recipe.scorers)
    scores = [name for name, scorer in columns.items() if not scorer.is_vector]
    path = None if recipe.out is None else recipe.out.table_path
    there = [] if path is None or not (path / MANIFEST).exists() else ScoreTable(path).score_columns
    if not recipe.select:
        raise ValueError("want at least one step of selecting, got none")
    steps = tuple(_with_named_column(step, scores, there, recipe.source) for step in recipe.select)
    return dataclasses.replace(recipe, select=steps)


def _with_named_column(step: Rule, scores: Sequence[str], there: Sequence[str], source: Source) -> Rule:
    rule = as_selector(step.selector)
    check_keep_ratio(rule, step.keep, step.per)
    column = step.per.column if isinstance(step.per, Per) else step.per
    if column is not None and column != source.group:
        raise ValueError(f"want the source's group column as per, got per={column!r} and group={source.group!r}")
    wanted = [*step.by] if isinstance(step.by, Mapping) else [] if step.by is None else [step.by]
    for name in wanted:
        if name not in scores and name not in there:
            known = ", ".join(dict.fromkeys([*scores, *there])) or "none"
            raise ValueError(f"want by=<column>, one of {known}, got {name!r}")
    if wanted or not rule.needs_scores or rule.default_by() is not None:
        return step
    if len(scores) != 1:
        raise ValueError(f"want by=<column>, one of {', '.join(scores) or 'none'}")
    return dataclasses.replace(step, by=scores[0])
