"""The numbers of a report: what a selection did to sizes, scores and groups. Reads columns, never a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from datapruner.corpus.token_counter import ESTIMATE
from datapruner.scoring.manifest import ROWS, Column
from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.groups import BLOCK, Groups
from datapruner.selection.selection import Selection
from datapruner.selection.step import Step

if TYPE_CHECKING:
    import pyarrow as pa

BINS = 48
# scores that are drawn
MOST_HISTOGRAMS = 20
# bins span these quantiles and the outer ones take the tails: one giant row does not flatten the picture
TAILS = (0.005, 0.995)


@dataclass(frozen=True)
class Size:
    """How much there was and how much is left; `estimated` where it was not counted."""

    name: str
    before: int
    after: int
    estimated: bool = False


@dataclass(frozen=True)
class Histogram:
    """Kept and dropped rows, int64 [bins], between `edges` [bins + 1]; `tails` says which outer bins are open.

    `cuts` are the scores at which rows go from kept to dropped, where there are such.
    """

    name: str
    edges: np.ndarray
    kept: np.ndarray
    dropped: np.ndarray
    tails: tuple[bool, bool]
    cuts: tuple[float, ...]
    medians: tuple[float | None, float | None]
    column: Column | None


@dataclass(frozen=True)
class Group:
    """Rows of one group, before and after."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class StepRows:
    """What one step of a selection dropped, and what it left of the rows before it; bool [n] each."""

    step: Step
    dropped: np.ndarray
    left: np.ndarray


@dataclass(frozen=True)
class Statistics:
    """All numbers of a report; `mix` is empty where no group is known, `other_scores` are too many to be drawn."""

    sizes: tuple[Size, ...]
    histograms: tuple[Histogram, ...]
    mix: tuple[Group, ...]
    groups: Groups | None
    steps: tuple[StepRows, ...]
    other_scores: int = 0


def statistics_of(selection: Selection, table: ScoreTable | None) -> Statistics:
    """The statistics about `selection`; without the table of its scores no sizes and groups, and fewer histograms."""
    kept, steps = selection.codes < 0, steps_of(selection)
    groups = None if table is None else _groups(table)
    names = _score_names(selection, table, steps)
    return Statistics(
        sizes=(Size("rows", selection.n_rows, selection.n_kept), *_sizes(kept, table)),
        histograms=tuple(_histograms(selection, table, steps, names[:MOST_HISTOGRAMS])),
        mix=() if groups is None else _mix(kept, groups),
        groups=groups,
        steps=steps,
        other_scores=max(0, len(names) - MOST_HISTOGRAMS),
    )


def steps_of(selection: Selection) -> tuple[StepRows, ...]:
    """Which step dropped which rows: reasons stand in the order of the steps, each step's counts are known."""
    found, left = [], np.ones(selection.n_rows, dtype=bool)
    counts, first = [*selection.counts().values()], 0
    for step in selection.steps:
        goes, last = step["rows"] - step["kept"], first
        while last < len(counts) and sum(counts[first : last + 1]) <= goes:
            last += 1
        dropped = left & (selection.codes >= first) & (selection.codes < last)
        left = left & ~dropped
        found.append(StepRows(step, dropped, left))
        first = last
    return tuple(found)


def column_of(step: Step, scores: Mapping[str, np.ndarray]) -> str | None:
    """The score that the step ranked by, where the selection has it."""
    by = step["by"]
    return by if isinstance(by, str) and by in scores else None


def _sizes(kept: np.ndarray, table: ScoreTable | None) -> list[Size]:
    if table is None:
        return []
    found = []
    for name in ("characters", "tokens"):
        counted = table.read(ROWS, name)
        if not counted.null_count:
            counts = counted.to_numpy()
            guessed = name == "tokens" and table.manifest["input"]["fields"].get("tokens") in (None, ESTIMATE)
            found.append(Size(name, int(counts.sum()), int(counts[kept].sum()), guessed))
    return found


def _groups(table: ScoreTable) -> Groups | None:
    if table.manifest["input"]["fields"].get("group") is None:
        return None
    values: pa.ChunkedArray = table.read(ROWS, "group")
    encoded = values.dictionary_encode().combine_chunks()
    return Groups(encoded.indices.to_numpy(), tuple(encoded.dictionary.to_pylist()))


def _mix(kept: np.ndarray, groups: Groups) -> tuple[Group, ...]:
    """The largest group first."""
    n = len(groups.names)
    before, after = np.bincount(groups.ids, minlength=n), np.bincount(groups.ids[kept], minlength=n)
    found = [Group(*item) for item in zip(groups.names, before.tolist(), after.tolist(), strict=True)]
    return tuple(sorted(found, key=lambda group: (-group.before, group.name)))


def _score_names(selection: Selection, table: ScoreTable | None, steps: tuple[StepRows, ...]) -> list[str]:
    """Scores that were selected by come first, in the order of the steps; then the table's other ones."""
    used = (name for rows in steps if (name := column_of(rows.step, selection.scores)))
    return [*dict.fromkeys([*used, *selection.scores, *([] if table is None else table.score_columns)])]


def _histograms(
    selection: Selection, table: ScoreTable | None, steps: tuple[StepRows, ...], names: list[str]
) -> list[Histogram]:
    columns = {} if table is None else table.manifest["columns"]
    used = {name: rows.step["column"] for rows in steps if (name := column_of(rows.step, selection.scores))}
    found = []
    for name in names:
        values = selection.scores[name] if name in selection.scores else _scores(table, name)
        found.append(_histogram(name, values, selection, steps, columns.get(name) or used.get(name)))
    return found


def _scores(table: ScoreTable | None, name: str) -> np.ndarray:
    return np.zeros(0, dtype=np.float32) if table is None else table.scores(name)


def _histogram(
    name: str, values: np.ndarray, selection: Selection, steps: tuple[StepRows, ...], column: Column | None
) -> Histogram:
    kept = selection.codes < 0
    # rows that did not compete for a sum of ranks have none
    there = None if not np.isnan(values).any() else ~np.isnan(values)
    known, stays = (values, kept) if there is None else (values[there], kept[there])
    low, high = map(float, np.quantile(known, TAILS)) if len(known) else (0.0, 0.0)
    whole = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    # tails are only cut off where they are long
    if whole[1] - whole[0] < 1.5 * (high - low):
        low, high = whole
    if not low < high:
        low, high = whole if whole[0] < whole[1] else (whole[0] - 0.5, whole[0] + 0.5)
    counts = _binned(known, stays, low, high)
    return Histogram(
        name=name,
        edges=np.linspace(low, high, BINS + 1),
        kept=counts[1],
        dropped=counts[0],
        tails=(whole[0] < low, whole[1] > high),
        cuts=tuple(cut for rows in steps if column_of(rows.step, {name: values}) for cut in _cuts(values, rows)),
        medians=(_median(known[stays]), _median(known[~stays])),
        column=column,
    )


def _binned(values: np.ndarray, kept: np.ndarray, low: float, high: float) -> np.ndarray:
    """How many rows each bin has, int64 [2, bins]: dropped ones, then kept ones; a block of rows at a time."""
    counts = np.zeros(2 * BINS, dtype=np.int64)
    for start in range(0, len(values), BLOCK):
        block = slice(start, start + BLOCK)
        places = (values[block].astype(np.float64) - low) / (high - low) * BINS
        bins = np.clip(places, 0, BINS - 1).astype(np.int64)
        counts += np.bincount(bins + BINS * kept[block], minlength=2 * BINS)
    return counts.reshape(2, BINS)


def _cuts(values: np.ndarray, rows: StepRows) -> list[float]:
    """The lowest and highest score that the step left, where it dropped rows beyond and none between."""
    if rows.step["per"] is not None or not rows.dropped.any() or not rows.left.any():
        return []
    low, high, gone = float(values[rows.left].min()), float(values[rows.left].max()), values[rows.dropped]
    if ((gone > low) & (gone < high)).any():
        return []
    return [low] * bool((gone <= low).any()) + [high] * bool((gone >= high).any() and high > low)


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None
