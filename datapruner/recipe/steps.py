"""The steps of a recipe: checked before anything is read, and taken one after another."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence

from datapruner.recipe.recipe import Recipe, Rule
from datapruner.scoring.manifest import MANIFEST
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer_columns import scorers_by_column
from datapruner.selection.budgets import Per
from datapruner.selection.select import as_selector, check_keep_ratio, default_rule, select
from datapruner.selection.selection import Selection


def select_in_steps(
    table: ScoreTable, steps: Sequence[Rule], score_more: Callable[[Rule, Selection | None], ScoreTable] | None = None
) -> Selection:
    """Each step among what the earlier ones keep; `score_more` gives the table with a step's own columns."""
    selection: Selection | None = None
    for step in steps:
        if step.scorers and score_more is not None:
            table = score_more(step, selection)
        selection = select(table, step.selector, step.by, step.keep, step.per, selection)
    if selection is None:
        raise ValueError("want at least one step of selecting, got none")
    return selection


def with_named_columns(recipe: Recipe) -> Recipe:
    """`recipe` with the column and selector of every step, and scorers for fields that steps name as columns; raises
    ValueError, before anything is read, for what cannot work."""
    path = None if recipe.out is None else recipe.out.table_path
    table = ScoreTable(path) if path is not None and (path / MANIFEST).exists() else None
    there = {} if table is None else {name: table.manifest["columns"][name] for name in table.score_columns}
    if not recipe.select:
        raise ValueError("want at least one step of selecting, got none")
    given = [name for name, scorer in scorers_by_column(recipe.scorers).items() if not scorer.is_vector]
    recipe = _with_groups(recipe, table)
    made = {name: scorer for name, scorer in scorers_by_column(recipe.all_scorers).items() if not scorer.is_vector}
    fields = _fields_as_columns(recipe, {*there, *made})
    recipe = dataclasses.replace(recipe, scorers=(*recipe.scorers, *fields))
    defaults = {name: column["selector"] for name, column in there.items()}
    defaults |= {name: scorer.default_selector for name, scorer in made.items()}
    defaults |= {name: scorer.default_selector for name, scorer in scorers_by_column(fields).items()}
    steps = tuple(_named(step, given, defaults) for step in recipe.select)
    return dataclasses.replace(recipe, select=steps)


def _with_groups(recipe: Recipe, table: ScoreTable | None) -> Recipe:
    """The first group field that a step names is the source's, where that has none; others become columns."""
    names = [step.per.column if isinstance(step.per, Per) else step.per for step in recipe.select]
    wanted = [*dict.fromkeys(name for name in names if name is not None)]
    source, known = recipe.source, {*scorers_by_column(recipe.all_scorers)}
    if table is not None:
        known |= {*table.score_columns}
        if source.group is None:
            source = dataclasses.replace(source, group=table.manifest["input"]["fields"]["group"])
    elif source.group is None and wanted and wanted[0] not in known:
        source = dataclasses.replace(source, group=wanted[0])
    more = [f"{name}=group:name={json.dumps(name)}" for name in wanted if name != source.group and name not in known]
    return dataclasses.replace(recipe, source=source, scorers=(*recipe.scorers, *more))


def _fields_as_columns(recipe: Recipe, known: Collection[str]) -> list[str]:
    """Scorers for the columns that steps name and that are none, where rows have fields of these names."""
    wanted = [name for step in recipe.select for name in _by_names(step) if name not in known]
    found = []
    for name in dict.fromkeys(wanted):
        try:
            first = next(recipe.source.raw_chunks(whole=False, more=[name]))
            recipe.source.vectors(first, name)
        except (ValueError, StopIteration) as error:
            raise ValueError(f"want by=<column>, one of {', '.join(sorted(known)) or 'none'}, got {name!r}") from error
        found.append(f"{name}=field:name={json.dumps(name)}")
    return found


def _by_names(step: Rule) -> list[str]:
    return [*step.by] if isinstance(step.by, Mapping) else [] if step.by is None else [step.by]


def _named(step: Rule, made: Sequence[str], defaults: Mapping[str, str]) -> Rule:
    """`step` with its column, the one that is `made` now where it names none, and its selector."""
    by, given = step.by, None if step.selector is None else as_selector(step.selector)
    if by is None and (given is None or (given.needs_scores and given.default_by() is None)):
        own = [name for name, scorer in scorers_by_column(step.scorers).items() if not scorer.is_vector]
        choice = own or made
        if len(choice) != 1:
            raise ValueError(f"want by=<column>, one of {', '.join(choice) or 'none'}")
        by = choice[0]
    if given is None:
        given = default_rule("top" if isinstance(by, Mapping) else defaults[str(by)], step.keep, step.per)
    check_keep_ratio(given, step.keep, step.per)
    return dataclasses.replace(step, by=by, selector=step.selector or given)
