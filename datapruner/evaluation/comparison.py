"""From trainings to the table: means and intervals, paired differences, costs, overlap with a draw, drift of groups."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datapruner.evaluation.cells import Trained
from datapruner.evaluation.kept_rows import Kept
from datapruner.evaluation.paired_statistics import holm, p_above, paired_difference
from datapruner.evaluation.result import Against, Cost, Drift, Row, Share
from datapruner.evaluation.settings import ALL, RANDOM

# of a mix so many are told, the most moved first
MOST_SHARES = 50


@dataclass(frozen=True, eq=False)
class Trials:
    """The trainings of one way at one budget, a replicate each: what was kept, and seconds of what came before.

    `beside` names the budget that it shares with the draws that it is held against.
    """

    way: str
    is_candidate: bool
    ratio: float | None
    beside: str
    kept: Sequence[Kept]
    trained: Sequence[Trained]
    before: float = 0.0

    @property
    def qualities(self) -> list[float]:
        """One a replicate."""
        return [item.quality for item in self.trained]


@dataclass(frozen=True)
class Scale:
    """How qualities count: `sign` 1 where more is better, -1 where less is; the margin, and the target of a training.

    There are `n_rows` rows, `total` of what the budget is spent in.
    """

    sign: int
    margin: float
    target: float
    n_rows: int
    total: int


def rows_of(trials: Sequence[Trials], scale: Scale, groups: Mapping[str, Sequence[str]]) -> list[Row]:
    """A row for each, corrected over all candidates; `groups` have by kind a name for each row of the corpus."""
    codes = {kind: np.unique(np.asarray(names), return_inverse=True) for kind, names in groups.items()}
    draws = {item.beside: item for item in trials if item.way == RANDOM}
    rows = [_row(item, scale, codes, draws.get(item.beside)) for item in trials]
    found: dict[int, list[Against]] = {number: [] for number in range(len(rows))}
    # the candidates, or the draws, against one baseline are a family each
    for is_candidate in (True, False):
        for name in dict.fromkeys(item.way for item in trials if not item.is_candidate):
            pairs = [
                (number, base)
                for number, item in enumerate(trials)
                if item.is_candidate is is_candidate and (base := _baseline(item, name, trials)) is not None
            ]
            compared = [_differences(trials[number], base, scale) for number, base in pairs]
            for (number, _), against in zip(pairs, _against(name, compared, scale), strict=True):
                found[number].append(against)
    apply = _p_apply(trials, scale)
    return [
        dataclasses.replace(row, against=tuple(found[number]), p_apply=apply.get(number))
        for number, row in enumerate(rows)
    ]


def _baseline(item: Trials, name: str, trials: Sequence[Trials]) -> Trials | None:
    """What `item` is held against by that name; draws are held against all rows alone."""
    if item.way == name or not (item.is_candidate or name == ALL):
        return None
    return next((other for other in trials if other.way == name and other.beside in (item.beside, ALL)), None)


def _differences(item: Trials, base: Trials, scale: Scale) -> list[float]:
    return [scale.sign * (a - b) for a, b in zip(item.qualities, base.qualities, strict=True)]


def _against(name: str, compared: Sequence[list[float]], scale: Scale) -> list[Against]:
    differences = [paired_difference(values) for values in compared]
    not_worse = [p_above(values, -scale.margin) for values in compared]
    corrected = zip(differences, holm([item.p for item in differences]), not_worse, holm(not_worse), strict=True)
    return [Against(name, *item) for item in corrected]


def _p_apply(trials: Sequence[Trials], scale: Scale) -> dict[int, float]:
    """For each candidate the larger of two p-values, since both must hold: better than a draw, and not worse than all
    rows by the margin; corrected over the candidates."""
    found: dict[int, float] = {}
    for number, item in enumerate(trials):
        draw, whole = _baseline(item, RANDOM, trials), _baseline(item, ALL, trials)
        if item.is_candidate and draw is not None and whole is not None:
            found[number] = max(
                p_above(_differences(item, draw, scale), 0.0), p_above(_differences(item, whole, scale), -scale.margin)
            )
    return dict(zip(found, holm([*found.values()]), strict=True))


def _row(item: Trials, scale: Scale, codes: Mapping[str, tuple[np.ndarray, np.ndarray]], draw: Trials | None) -> Row:
    interval = paired_difference(item.qualities)
    overlap = chance = None
    if item.is_candidate and draw is not None:
        pairs = list(zip(item.kept, draw.kept, strict=True))
        overlap = statistics.fmean(float(np.isin(one.rows, two.rows).mean()) for one, two in pairs)
        # a row is among those drawn by the draw's share of all rows
        chance = statistics.fmean(len(two.rows) / scale.n_rows for _, two in pairs)
    return Row(
        way=item.way,
        is_candidate=item.is_candidate,
        ratio=item.ratio,
        share=statistics.fmean(kept.spent for kept in item.kept) / scale.total,
        rows=statistics.fmean(len(kept.rows) for kept in item.kept),
        qualities=tuple(item.qualities),
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        cost=_cost(item, scale),
        overlap=overlap,
        overlap_by_chance=chance,
        drift=tuple(_drift(kind, names, ids, item.kept) for kind, (names, ids) in codes.items()),
    )


def _cost(item: Trials, scale: Scale) -> Cost:
    first = [trained.first_at(scale.target, scale.sign) for trained in item.trained]
    reached = [point for point in first if point is not None]
    is_all = len(reached) == len(first)
    return Cost(
        before=item.before,
        training=statistics.fmean(trained.seconds for trained in item.trained),
        reached=len(reached),
        seconds_to_target=item.before + statistics.fmean(point.seconds for point in reached) if is_all else None,
        steps_to_target=statistics.fmean(point.step for point in reached) if is_all else None,
    )


def _drift(kind: str, names: np.ndarray, ids: np.ndarray, kept: Sequence[Kept]) -> Drift:
    whole = np.bincount(ids, minlength=len(names)) / len(ids)
    parts = [np.bincount(ids[item.rows], minlength=len(names)) / len(item.rows) for item in kept]
    moved = statistics.fmean(float(np.abs(part - whole).sum()) / 2 for part in parts)
    mean = np.mean(parts, axis=0)
    order = np.argsort(-np.abs(mean - whole), kind="stable")[:MOST_SHARES].tolist()
    return Drift(kind, moved, tuple(Share(str(names[at]), float(whole[at]), float(mean[at])) for at in order))
