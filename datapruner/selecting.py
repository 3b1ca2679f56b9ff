"""`select`: from a score table to a selection. Reads columns, never the corpus: many selections from one scoring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from datapruner.lineage import method_name, text_form
from datapruner.selection import Selection, Step, join
from datapruner.selector import Candidates, Selector
from datapruner.table import ROWS, ScoreTable
from prunekernels import budget, spec

PACKAGE = "datapruner.selectors"


def select(
    table: str | Path | ScoreTable,
    selector: str | Selector = "middle",
    by: str | None = None,
    keep_ratio: float | None = None,
    per: str | None = None,
    within: str | Path | Selection | None = None,
) -> Selection:
    """Keep `keep_ratio` of the rows by the column `by` (which may stay away where there is but one).

    `per` names the group column: the rule is applied inside each group, which keeps its share. `within` is an
    earlier selection: only the rows it keeps compete, `keep_ratio` is of those, and its drops stay with their
    reasons. A selector that decides the count itself, as threshold does, takes no `keep_ratio`.
    """
    table = table if isinstance(table, ScoreTable) else ScoreTable(table)
    rule = as_selector(selector)
    check_keep_ratio(rule, keep_ratio)
    earlier = within if within is None or isinstance(within, Selection) else Selection.load(within)
    if earlier is not None:
        table.refuse_other_input(earlier.input["files"])
    by = _column(table, rule, by)
    rows = np.arange(table.n_rows) if earlier is None else earlier.kept
    candidates = _candidates(table, by, per).take(rows)
    outcome = rule.select(candidates, _counts(candidates, keep_ratio) if rule.counts else ())
    codes = np.full(table.n_rows, -1, dtype=np.int32)
    codes[rows] = outcome.codes
    step = Step(
        selector=text_form(rule),
        by=by,
        keep_ratio=keep_ratio,
        per=per,
        rows=len(rows),
        kept=len(outcome.kept),
        column=None if by is None else table.manifest["columns"][by],
    )
    scores = {} if by is None else {by: table.scores(by)}
    uids = table.read(ROWS, "uid")
    found = Selection(uids, codes, outcome.reasons, scores, table.manifest["input"], (step,))
    return found if earlier is None else join(earlier, rows, found)


def as_selector(selector: str | Selector) -> Selector:
    """A selector from itself or its text form."""
    return spec.build(PACKAGE, selector, Selector) if isinstance(selector, str) else selector


def check_keep_ratio(rule: Selector, keep_ratio: float | None) -> None:
    """Raise where a count is asked of a rule that has its own, or none of a rule that needs one."""
    name = method_name(rule)
    if rule.counts:
        if keep_ratio is None:
            raise ValueError(f"{name} wants a keep_ratio in (0, 1]")
        budget.check_keep_ratio(keep_ratio)
    elif keep_ratio is not None:
        raise ValueError(f"{name} decides itself how many rows are kept: want no keep_ratio, got {keep_ratio}")


def _column(table: ScoreTable, rule: Selector, by: str | None) -> str | None:
    if by is not None or not rule.needs_scores:
        return by
    if len(table.score_columns) != 1:
        raise ValueError(f"{table.path}: want by=<column>, one of {', '.join(table.score_columns) or 'none'}")
    return table.score_columns[0]


def _candidates(table: ScoreTable, by: str | None, per: str | None) -> Candidates:
    keys = table.read(ROWS, "key").to_numpy()
    scores = np.zeros(len(keys), dtype=np.float32) if by is None else table.scores(by)
    ids, names = np.zeros(len(keys), dtype=np.int64), None
    if per is not None:
        group = table.manifest["input"]["fields"]["group"]
        if per != group:
            has = "no group column" if group is None else f"the group column {group!r}"
            raise ValueError(f"{table.path} was scored with {has}, got per={per!r}: score with group={per!r}")
        encoded = table.read(ROWS, "group").dictionary_encode().combine_chunks()
        found = encoded.dictionary.to_pylist()
        # ids in the order of the names, so that the rounding of shares does not hang on the order of the rows
        names = tuple(sorted(found))
        number = {name: place for place, name in enumerate(names)}
        ids = np.array([number[name] for name in found], dtype=np.int64)[encoded.indices.to_numpy()]
    return Candidates(torch.from_numpy(np.array(scores)), keys, torch.from_numpy(ids), by or "score", names)


def _counts(candidates: Candidates, keep_ratio: float | None) -> list[int]:
    """The exact count of the whole, shared over the groups in proportion to their sizes."""
    total = budget.n_keep(len(candidates), keep_ratio or 0)
    n_groups = 1 if candidates.groups is None else len(candidates.groups)
    sizes = torch.bincount(candidates.group_ids, minlength=n_groups)
    return budget.allocate(total, sizes).tolist()
