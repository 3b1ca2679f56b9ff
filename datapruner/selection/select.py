"""`select`: from a score table to a selection. Reads columns, never the corpus: many selections from one scoring."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datapruner.scoring.score_table import ScoreTable
from datapruner.selection import ranking
from datapruner.selection.budgets import Budget, Per, as_budget, as_per
from datapruner.selection.candidates import Candidates
from datapruner.selection.group_budgets import group_counts
from datapruner.selection.groups import Groups
from datapruner.selection.score_table_rows import ScoreTableRows
from datapruner.selection.selection import Selection, join
from datapruner.selection.selector import Outcome, Selector
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
    A mapping of columns to weights ranks by the weighted sum of their ranks in [0, 1]. `per` names the group
    column: rule and ranks are those inside each group, which keeps its share or gets what `Per` says. `within` is
    an earlier selection: only the rows it keeps compete, `keep_ratio` is of those, and its drops stay with their
    reasons. A selector that decides the count itself, as threshold does, takes no `keep_ratio`.
    """
    table = table if isinstance(table, ScoreTable) else ScoreTable(table)
    shares = None if per is None else as_per(per)
    if selector is None:
        by = _only_column(table) if by is None else by
        rule = default_rule(_default_selector(table, by), keep_ratio, shares)
    else:
        rule = as_selector(selector)
    rule.check()
    check_keep_ratio(rule, keep_ratio, shares)
    earlier = within if within is None or isinstance(within, Selection) else Selection.load(within)
    if earlier is not None:
        table.refuse_other_input(earlier.input["files"])
    ranks = _rank_weights(table, rule, by)
    at = None if earlier is None else earlier.kept
    rows = ScoreTableRows(table)
    groups = None if shares is None else _groups(rows, shares, at)
    scores = {name: rows.scores(name) for name in ranks}
    candidates = _candidates(rows, scores, ranks, groups, at)
    counts = group_counts(rule, candidates, keep_ratio, shares, groups) if rule.counts else None
    outcome = rule.select(candidates, [0] * _n_groups(groups) if counts is None else counts, groups)
    step = _step(rule, table, ranks, keep_ratio, shares)
    _finish(step, rule, outcome)
    if len(ranks) > 1:
        scores[candidates.by] = _scatter(candidates.scores, at, table.n_rows, np.nan)
    found = Selection(
        codes=_scatter(outcome.codes, at, table.n_rows, -1),
        reasons=outcome.reasons,
        scores=scores,
        input=table.manifest["input"],
        steps=(step,),
        uids=TableUidColumn(table),
        weights=None if outcome.weights is None else _scatter(outcome.weights, at, table.n_rows, 0),
    )
    return found if earlier is None else join(earlier, found)


def as_selector(selector: str | Selector) -> Selector:
    """A selector from itself or its text form."""
    return spec.build(SELECTORS, selector, Selector) if isinstance(selector, str) else selector


def _name(rule: Selector) -> str:
    return registry.name_of(SELECTORS, type(rule))


def default_rule(default: str, keep_ratio: float | Budget | None, per: str | Per | None = None) -> Selector:
    """The rule of a scorer's `default_selector`, or where a count is asked and it has none, its ranking."""
    rule = as_selector(default)
    asks = keep_ratio is not None or (isinstance(per, Per) and per.counts is not None)
    ranked = rule.ranked() if asks and not rule.counts else None
    return rule if ranked is None else as_selector(ranked)


def check_keep_ratio(rule: Selector, keep_ratio: float | Budget | None, per: str | Per | None = None) -> None:
    """Raise where a count is asked of a rule that has its own, or none of a rule that needs one."""
    name, given = _name(rule), isinstance(per, Per) and per.counts is not None
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
    if not rule.needs_scores:
        return {}
    return {_only_column(table): 1.0}


def _only_column(table: ScoreTable) -> str:
    if len(table.score_columns) != 1:
        raise ValueError(f"{table.path}: want by=<column>, one of {', '.join(table.score_columns) or 'none'}")
    return table.score_columns[0]


def _default_selector(table: ScoreTable, by: str | Mapping[str, float]) -> str:
    """That of the column; of a sum of ranks the highest ones, for which its weights are signed."""
    if isinstance(by, Mapping):
        return "top"
    if by not in table.score_columns:
        raise ValueError(f"{table.path} has no finished column {by!r}; finished: {', '.join(table.score_columns)}")
    return table.manifest["columns"][by]["selector"]


def _groups(rows: ScoreTableRows, per: Per, at: np.ndarray | None) -> Groups:
    group = rows.table.manifest["input"]["fields"]["group"]
    if per.column != group:
        has = "no group column" if group is None else f"the group column {group!r}"
        raise ValueError(
            f"{rows.table.path} was scored with {has}, got per={per.column!r}: score with group={per.column!r}"
        )
    groups = rows.groups()
    return groups if at is None else groups.take(at)


def _candidates(
    rows: ScoreTableRows,
    scores: Mapping[str, np.ndarray],
    ranks: Mapping[str, float],
    groups: Groups | None,
    at: np.ndarray | None,
) -> Candidates:
    taken = {name: values if at is None else values[at] for name, values in scores.items()}
    n_rows = rows.table.n_rows if at is None else len(at)
    if not taken:
        # a view of a single 0
        return Candidates(np.broadcast_to(np.float32(0), n_rows), rows, at)
    if len(taken) == 1 and [*ranks.values()] == [1.0]:
        ((name, values),) = taken.items()
        return Candidates(values, rows, at, name)
    total = np.zeros(n_rows)
    for name, values in taken.items():
        for members in [slice(None)] if groups is None else groups.members():
            total[members] += ranks[name] * ranking.rank(values[members])
    # as float32 sums that differ by rounding alone tie, as they should
    return Candidates(total.astype(np.float32), rows, at, sum_text(ranks))


def sum_text(ranks: Mapping[str, float]) -> str:
    """A weighted sum of ranks in words, as in "0.5 rank(length) - 1 rank(perplexity)"."""
    terms = [f"{'-' if weight < 0 else '+'} {abs(weight):g} rank({name})" for name, weight in ranks.items()]
    text = " ".join(terms)
    return text[2:] if text[0] == "+" else f"-{text[2:]}"


def _n_groups(groups: Groups | None) -> int:
    return 1 if groups is None else len(groups.names)


def _step(
    rule: Selector,
    table: ScoreTable,
    ranks: Mapping[str, float],
    keep_ratio: float | Budget | None,
    per: Per | None,
) -> Step:
    """What was asked; the counts are not known yet."""
    budget = None if keep_ratio is None else as_budget(keep_ratio)
    single = len(ranks) == 1 and [*ranks.values()] == [1.0]
    by = None if not ranks else next(iter(ranks)) if single else sum_text(ranks)
    return Step(
        selector=spec.describe(rule, package=SELECTORS, every_field=True),
        by=by,
        ranks={} if single else dict(ranks),
        keep_ratio=None if budget is None else budget.ratio,
        budget={} if budget is None else {k: v for k, v in vars(budget).items() if v is not None},
        per=None if per is None else per.column,
        quota=None if per is None else per.quota if isinstance(per.quota, str) else dict(per.quota),
        counts=None if per is None or per.counts is None else dict(per.counts),
        rows=0,
        kept=0,
        column=table.manifest["columns"][by] if single and by is not None else None,
        columns={name: table.manifest["columns"][name] for name in ranks},
        warnings=[],
    )


def _finish(step: Step, rule: Selector, outcome: Outcome) -> None:
    """Add the counts, and say so where a rule keeps so little that a draw would do better."""
    step["rows"], step["kept"] = len(outcome.codes), int(np.count_nonzero(outcome.codes < 0))
    if rule.score_only and step["kept"] < FEW * step["rows"]:
        text = (
            f"{_name(rule)} keeps {step['kept'] / step['rows']:.1%} of the rows by {step['by']} alone: under "
            f"{FEW:.0%} such rules often do worse than random; calibrated or coverage_centric mend it"
        )
        step["warnings"].append(text)
        warnings.warn(text, stacklevel=3)


def _scatter(values: np.ndarray, at: np.ndarray | None, n_rows: int, elsewhere: float) -> np.ndarray:
    """`values` of the rows `at` among all rows, `elsewhere` for the others."""
    if at is None:
        return values
    scattered = np.full(n_rows, elsewhere, dtype=values.dtype)
    scattered[at] = values
    return scattered
