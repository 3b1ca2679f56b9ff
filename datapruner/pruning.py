"""`prune`: score, select and write in one call; `run`: the same from a recipe, in as many steps as it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from datapruner.corpus.fragments import CorpusLike
from datapruner.corpus.source import Source, as_source
from datapruner.output import Output, as_output
from datapruner.recipe import Recipe, Rule
from datapruner.scoring.score import score
from datapruner.scoring.score_table import MANIFEST, ScoreTable
from datapruner.scoring.scorer import Scorer
from datapruner.scoring.scorer_columns import scorers_by_column
from datapruner.selection.budgets import Budget, Per
from datapruner.selection.select import as_selector, check_keep_ratio, select
from datapruner.selection.selection import Selection
from datapruner.selection.selector import Selector
from datapruner.writer import check_output, write


def prune(
    source: CorpusLike | Source,
    scorer: str | Scorer | Sequence[str | Scorer],
    selector: str | Selector | Rule,
    keep_ratio: float | Budget | None,
    out: str | Path | Output,
    per: str | Per | None = None,
) -> Selection:
    """Write what `selector` keeps of `source` by the scores of `scorer` into `out`; returns the selection.

    With several scorers a `Rule` says what to select by, as in Rule("top", by="length"). The score table stays
    beside the output (`Output.scores`), so that a killed run goes on and another keep_ratio scores nothing again.
    """
    scorers = (scorer,) if isinstance(scorer, str | Scorer) else tuple(scorer)
    given = selector if isinstance(selector, Rule) else Rule(selector)
    rule = dataclasses.replace(given, keep=given.keep if keep_ratio is None else keep_ratio, per=per or given.per)
    return run(Recipe(as_source(source), scorers, (rule,), as_output(out)))


def run(recipe: Recipe) -> Selection:
    """Score, select and write as `recipe` says; raises ValueError where the kept rows are not those it expects."""
    if recipe.out is None:
        raise ValueError("want an output folder: out in the recipe, or --out")
    output = dataclasses.replace(recipe.out, scores=table_path(recipe.out))
    recipe = checked(recipe)
    check_output(recipe.out or output, recipe.source)
    table = scored(recipe.source, recipe.scorers, table_path(output), recipe.engine)
    selection = choose(table, recipe.select)
    recipe.expect.check(selection)
    write(recipe.source, selection, output)
    return selection


def scored(source: Source, scorers: Sequence[str | Scorer], out: Path, engine: str) -> ScoreTable:
    """`score` by the engine of a text form."""
    return score(source, [*scorers], out, engine)


def choose(table: ScoreTable, steps: Sequence[Rule]) -> Selection:
    """Each step among what the earlier ones keep."""
    selection: Selection | None = None
    for step in steps:
        selection = select(table, step.selector, step.by, step.keep, step.per, selection)
    if selection is None:
        raise ValueError("want at least one step of selecting, got none")
    return selection


def table_path(output: Output) -> Path:
    """The folder of the score table."""
    return Path(f"{output.path}.scores" if output.scores is None else output.scores)


def checked(recipe: Recipe) -> Recipe:
    """`recipe` with every step's column named; raises ValueError for what cannot work, before anything is read."""
    columns = scorers_by_column(recipe.scorers)
    scores = [name for name, scorer in columns.items() if not scorer.is_vector]
    path = None if recipe.out is None else table_path(recipe.out)
    there = [] if path is None or not (path / MANIFEST).exists() else ScoreTable(path).score_columns
    if not recipe.select:
        raise ValueError("want at least one step of selecting, got none")
    steps = tuple(_checked(step, scores, there, recipe.source) for step in recipe.select)
    return dataclasses.replace(recipe, select=steps)


def _checked(step: Rule, scores: Sequence[str], there: Sequence[str], source: Source) -> Rule:
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
