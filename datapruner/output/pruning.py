"""`prune`: score, select and write in one call; `run`: the same from a recipe, in as many steps as it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from datapruner.corpus.fragments import CorpusLike
from datapruner.corpus.source import Source, as_source
from datapruner.output.write import write
from datapruner.recipe.output_check import check_output
from datapruner.recipe.recipe import Output, Recipe, Rule, as_output
from datapruner.recipe.steps import select_in_steps, with_named_columns
from datapruner.scoring.score import score
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Scorer
from datapruner.selection.budgets import Budget, Per
from datapruner.selection.selection import Selection
from datapruner.selection.selector import Selector
from prunekernels.io.staging import recover


def prune(
    source: CorpusLike | Source,
    scorer: str | Scorer | Sequence[str | Scorer],
    selector: str | Selector | Rule | Sequence[Rule] | None,
    keep_ratio: float | Budget | None,
    out: str | Path | Output,
    per: str | Per | None = None,
) -> Selection:
    """Write what `selector` keeps of `source` by the scores of `scorer` into `out`; returns the selection.

    No selector is the one that the score is for, as in prune("c.jsonl", "near_duplicate", None, None, "out").

    With several scorers a `Rule` says what to select by, as in Rule("top", by="length"); several are taken one after
    another, and the last keeps `keep_ratio`. A rule may name a field of the rows as its column or group. The score
    table stays beside the output (`Output.scores`), so that a killed run goes on and another keep_ratio scores nothing
    again.
    """
    scorers = (scorer,) if isinstance(scorer, str | Scorer) else tuple(scorer)
    if selector is None or isinstance(selector, str | Selector):
        rules = [Rule(selector)]
    else:
        rules = [selector] if isinstance(selector, Rule) else [*selector]
    *first, last = rules
    last = dataclasses.replace(last, keep=last.keep if keep_ratio is None else keep_ratio, per=per or last.per)
    return run(Recipe(as_source(source), scorers, (*first, last), as_output(out)))


def run(recipe: Recipe) -> Selection:
    """Score, select and write as `recipe` says; raises ValueError where the kept rows are not those it expects."""
    if recipe.out is None:
        raise ValueError("want an output folder: out in the recipe, or --out")
    output = dataclasses.replace(recipe.out, scores=recipe.out.table_path)
    recipe = with_named_columns(dataclasses.replace(recipe, source=recipe.source.listed()))
    # what a killed run left half exchanged is put back before it is looked at
    recover(Path(output.path))
    check_output(output, recipe.source)
    table = score(recipe.source, recipe.scorers, output.table_path, recipe.engine)

    def score_more(step: Rule, kept: Selection | None) -> ScoreTable:
        return score(recipe.source, step.scorers, output.table_path, recipe.engine, kept)

    selection = select_in_steps(table, recipe.select, score_more)
    recipe.expect.check(selection)
    write(recipe.source, selection, output)
    return selection
