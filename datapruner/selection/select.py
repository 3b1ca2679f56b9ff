"""`select`: from a score table to a selection. Reads columns, never the corpus: many selections from one scoring."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.budgets import Budget, Per, as_budget, as_per
from datapruner.selection.decision import Decision, Question, decide
from datapruner.selection.joined_rows import JoinedRows
from datapruner.selection.score_table_rows import ScoreTableRows
from datapruner.selection.selection import Selection, join
from datapruner.selection.selector import Selector
from datapruner.selection.step import Step
from datapruner.selection.uid_column import TableUidColumn
from prunekernels import registry, spec

SELECTORS = "datapruner.selectors"

# below it a rule that looks at nothing but the score loses to a draw (Ayed and Hayou 2023)
FEW = 0.3


def select(
    table: str | Path | ScoreTable,
    selector: str | Selector | None = None,
    by: str | Mapping[str, float] | None = None,
    keep_ratio: float | Budget | None = None,
    per: str | Per | None = None,
    within: str | Path | Selection | None = None,
) -> Selection:
    """Keep `keep_ratio` of the rows, or a `Budget`, by the column `by` (which may stay away where there is but one).

    Without a selector it is the one that the column's scorer is for (`Scorer.default_selector`); where that is a
    threshold and a number of rows is asked, these are the lowest or highest scores.
    A mapping of columns to weights ranks by the weighted sum of their ranks in [0, 1]. `per` names the group field of
    the source or a column of the scorer `group`: rule and ranks are those inside each group, which keeps its share or
    gets what `Per` says. `within` is an earlier selection: only the rows it keeps compete, `keep_ratio` is of those,
    and its drops stay with their reasons. A selector that decides the count itself, as threshold does, takes no
    `keep_ratio`.
    """
    table = table if isinstance(table, ScoreTable) else ScoreTable(table)
    earlier = None if within is None else _loaded(within, table)
    question = _question([table], selector, by, keep_ratio, per)
    decision = decide(question, ScoreTableRows(table), None if earlier is None else earlier.kept)
    found = _selection(table, question, decision)
    _warn_of_few(question, found)
    return found if earlier is None else join(earlier, found)


def select_together(
    tables: Sequence[str | Path | ScoreTable],
    selector: str | Selector | None = None,
    by: str | Mapping[str, float] | None = None,
    keep_ratio: float | Budget | None = None,
    per: str | Per | None = None,
    within: Sequence[str | Path | Selection] | None = None,
) -> tuple[Selection, ...]:
    """As `select`, of several tables as if they were one: one budget, ranks and groups over all their rows.

    Returns a selection for each table, in their order; `within` is one for each. Raises ValueError where a column was
    not made the same way in all of them, or a rule reads vectors or what a `fit` found.
    """
    opened = [table if isinstance(table, ScoreTable) else ScoreTable(table) for table in tables]
    if not opened or (within is not None and len(within) != len(opened)):
        raise ValueError(f"want one or more tables, and as many selections, got {len(opened)} and {within!r:.80}")
    earlier = None if within is None else [_loaded(one, table) for one, table in zip(within, opened, strict=True)]
    question = _question(opened, selector, by, keep_ratio, per)
    rows = JoinedRows([ScoreTableRows(table) for table in opened])
    kept = None if earlier is None else np.concatenate(
        [one.kept + start for one, start in zip(earlier, rows.starts[:-1], strict=True)]
    )  # fmt: skip
    decision = decide(question, rows, kept)
    found = []
    for number, table in enumerate(opened):
        part = rows.part_of(decision, number, None if earlier is None else earlier[number].kept)
        selection = _selection(table, question, part, len(opened))
        found.append(selection if earlier is None else join(earlier[number], selection))
    _warn_of_few(question, *found)
    return tuple(found)


def as_selector(selector: str | Selector) -> Selector:
    """A selector from itself or its text form."""
    return spec.build(SELECTORS, selector, Selector) if isinstance(selector, str) else selector


def default_rule(default: str, keep_ratio: float | Budget | None, per: str | Per | None = None) -> Selector:
    """The rule of a scorer's `default_selector`, or where a count is asked and it has none, its ranking."""
    rule = as_selector(default)
    asks = keep_ratio is not None or (isinstance(per, Per) and per.counts is not None)
    ranked = rule.ranked() if asks and not rule.counts else None
    return rule if ranked is None else as_selector(ranked)


def check_keep_ratio(rule: Selector, keep_ratio: float | Budget | None, per: str | Per | None = None) -> None:
    """Raise where a count is asked of a rule that has its own, or none of a rule that needs one."""
    name, given = registry.name_of(SELECTORS, type(rule)), isinstance(per, Per) and per.counts is not None
    if not rule.counts:
        if keep_ratio is not None or given:
            wanted = keep_ratio if keep_ratio is not None else "counts"
            raise ValueError(f"{name} decides itself how many rows are kept: want no keep_ratio, got {wanted}")
    elif given and keep_ratio is not None:
        raise ValueError(f"want either a keep_ratio or counts for the groups, got both, {keep_ratio} and {per}")
    elif not given:
        if keep_ratio is None:
            raise ValueError(f"{name} wants a keep_ratio in (0, 1]")
        as_budget(keep_ratio)


def _loaded(within: str | Path | Selection, table: ScoreTable) -> Selection:
    earlier = within if isinstance(within, Selection) else Selection.load(within)
    table.refuse_other_input(earlier.input["files"])
    return earlier


def _question(
    tables: Sequence[ScoreTable],
    selector: str | Selector | None,
    by: str | Mapping[str, float] | None,
    keep_ratio: float | Budget | None,
    per: str | Per | None,
) -> Question:
    """What is asked, checked as far as that goes before a column is read."""
    table, shares = tables[0], None if per is None else as_per(per)
    if selector is None:
        by = _only_column(table) if by is None else by
        rule = default_rule(_default_selector(table, by), keep_ratio, shares)
    else:
        rule = as_selector(selector)
    rule.check()
    check_keep_ratio(rule, keep_ratio, shares)
    question = Question(rule, _rank_weights(table, rule, by), keep_ratio, shares)
    for name in question.ranks:
        made = [_how_made(other, name) for other in tables]
        if any(one != made[0] for one in made):
            raise ValueError(f"want tables whose {name!r} was made the same way, got {made[0]} and others")
    return question


def _how_made(table: ScoreTable, name: str) -> tuple[object, ...]:
    _check_finished(table, name)
    column = table.manifest["columns"][name]
    return column["method"], column["version"], column["fields"], column["identity"]


def _rank_weights(table: ScoreTable, rule: Selector, by: str | Mapping[str, float] | None) -> dict[str, float]:
    """The columns that are selected by, each with its weight; none where the rule looks at no scores."""
    if isinstance(by, Mapping):
        if not by or not np.isfinite([*by.values()]).all() or not any(by.values()):
            raise ValueError(f"want columns with weights that are numbers and not all 0, got {dict(by)}")
        return {name: float(weight) for name, weight in by.items()}
    if by is None:
        by = rule.default_by()
    if by is not None:
        return {by: 1.0}
    return {_only_column(table): 1.0} if rule.needs_scores else {}


def _only_column(table: ScoreTable) -> str:
    if len(table.score_columns) != 1:
        raise ValueError(f"{table.path}: want by=<column>, one of {', '.join(table.score_columns) or 'none'}")
    return table.score_columns[0]


def _default_selector(table: ScoreTable, by: str | Mapping[str, float]) -> str:
    """That of the column; of a sum of ranks the highest ones, for which its weights are signed."""
    if isinstance(by, Mapping):
        return "top"
    _check_finished(table, by)
    return table.manifest["columns"][by]["selector"]


def _check_finished(table: ScoreTable, name: str) -> None:
    if name not in table.score_columns:
        known = ", ".join(table.score_columns) or "none"
        raise ValueError(f"{table.path} has no finished column {name!r}; finished: {known}")


def _selection(table: ScoreTable, question: Question, decision: Decision, n_tables: int = 1) -> Selection:
    return Selection(
        codes=decision.codes,
        reasons=decision.reasons,
        scores=decision.scores,
        input=table.manifest["input"],
        steps=(_step(table, question, decision, n_tables),),
        uids=TableUidColumn(table),
        weights=decision.weights,
        details={
            f"{name}.{detail}": TableUidColumn(table, name, detail)
            for name in question.ranks
            for detail in table.details_of(name)
        },
    )


def _step(table: ScoreTable, question: Question, decision: Decision, n_tables: int) -> Step:
    budget = None if question.keep_ratio is None else as_budget(question.keep_ratio)
    per, by, made = question.per, question.by, table.manifest["columns"]
    return Step(
        selector=spec.describe(question.rule, package=SELECTORS, every_field=True),
        by=by,
        ranks={} if question.is_single else dict(question.ranks),
        keep_ratio=None if budget is None else budget.ratio,
        budget={} if budget is None else budget.given(),
        counted_by=None if budget is None else budget.counted_by,
        per=None if per is None else per.column,
        quota=None if per is None else per.quota if isinstance(per.quota, str) else dict(per.quota),
        counts=None if per is None or per.counts is None else dict(per.counts),
        tables=n_tables,
        rows=decision.n_rows,
        kept=decision.n_kept,
        column=made[by] if question.is_single and by is not None else None,
        columns={name: made[name] for name in [*question.ranks, *_columns_beside(table, question)]},
        warnings=[],
    )


def _columns_beside(table: ScoreTable, question: Question) -> list[str]:
    """Columns that decided beside the scores: of groups, and of tokens."""
    budget = question.keep_ratio
    names = [question.per.column] if question.per is not None else []
    names += [budget.counted_by] if isinstance(budget, Budget) and budget.counted_by is not None else []
    return [name for name in names if name in table.manifest["columns"] and name not in question.ranks]


def _warn_of_few(question: Question, *found: Selection) -> None:
    """Say so where a rule keeps so little that a draw would do better."""
    steps = [selection.steps[-1] for selection in found]
    rows, kept = sum(step["rows"] for step in steps), sum(step["kept"] for step in steps)
    if question.rule.score_only and kept < FEW * rows:
        text = (
            f"{registry.name_of(SELECTORS, type(question.rule))} keeps {kept / rows:.1%} of the rows by {question.by} "
            f"alone: under {FEW:.0%} such rules often do worse than random; calibrated or coverage_centric mend it"
        )
        for step in steps:
            step["warnings"].append(text)
        warnings.warn(text, stacklevel=3)
