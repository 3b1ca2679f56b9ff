"""The rows that a report shows: both sides of each cut and the nearest duplicates, with their texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from datapruner import progress
from datapruner.report_facts import Facts, Groups, StepRows, column_of, has_field
from datapruner.selection import Selection
from datapruner.source import Source
from datapruner.table import ScoreTable
from datapruner.uids import mix

# rows on each side of all cuts together, and pairs of duplicates
MOST_EXAMPLES, MOST_PAIRS = 12, 20
# of the pairs, so many may be of equal texts: the others say more
MOST_EQUAL = 4
# characters that are kept of a text, of which the page shows a window
READ = 20_000


@dataclass(frozen=True)
class Example:
    """A row near a cut: on which score, and why it was dropped where it was."""

    row: int
    uid: str
    score: float
    reason: str | None


@dataclass(frozen=True)
class Side:
    """The rows nearest to the cut of one step, on both sides of it."""

    by: str
    number: int
    kept: tuple[Example, ...]
    dropped: tuple[Example, ...]


@dataclass(frozen=True)
class Pair:
    """A row and the row that is most like it."""

    row: int
    nearest: int
    uids: tuple[str, str]
    kept: tuple[bool, bool]
    score: float


@dataclass(frozen=True)
class Duplicates:
    """The pairs of one column that names nearest rows, most alike first; `equal` rows have a score of 0."""

    column: str
    equal: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Shown:
    """Rows of a report; `texts` by row number, None where there is no source to read them from."""

    sides: tuple[Side, ...]
    duplicates: tuple[Duplicates, ...]
    texts: dict[int, str] | None


def choose(selection: Selection, facts: Facts, table: ScoreTable | None, source: Source | None) -> Shown:
    """Which rows to show, always the same ones; texts in one pass over `source`."""
    ranked = [(n, rows, by) for n, rows in enumerate(facts.steps, start=1)
              if (by := column_of(rows.step, selection.scores)) and rows.dropped.any()]  # fmt: skip
    most = max(3, MOST_EXAMPLES // max(len(ranked), 1))
    sides = tuple(_side(selection, rows, (n, by), facts.groups, most) for n, rows, by in ranked)
    found = () if table is None else tuple(_duplicates(selection, table))
    rows = {example.row for side in sides for example in (*side.kept, *side.dropped)}
    rows |= {row for item in found for pair in item.pairs for row in (pair.row, pair.nearest)}
    return Shown(sides, found, None if source is None else texts_of(_as_scored(source, selection), rows))


def texts_of(source: Source, rows: Collection[int]) -> dict[int, str] | None:
    """The beginnings of the texts of `rows`, None where the source has no texts; parses only chunks with such rows."""
    if not source.has("texts"):
        return None
    wanted, found = np.array(sorted(rows), dtype=np.int64), {}
    with progress.display() as shown:
        bar = progress.Bar(shown, "report", None)
        for chunk in source.raw_chunks(whole=False):
            if not len(wanted) or chunk.start > wanted[-1]:
                break
            end = chunk.start + len(chunk.rows)
            with bar.working(end):
                here = wanted[(wanted >= chunk.start) & (wanted < end)].tolist()
                texts = source.parsed(chunk).texts if here else []
                found.update({row: texts[row - chunk.start][:READ] for row in here})
    return found


def _as_scored(source: Source, selection: Selection) -> Source:
    """`source` with the field names under which it was scored: who only writes does not name them again."""
    used = selection.input["fields"]
    return dataclasses.replace(source, text=used["text"], uid=None, group=None, label=None, image=None)


def _side(selection: Selection, rows: StepRows, named: tuple[int, str], groups: Groups | None, most: int) -> Side:
    number, by = named
    values = selection.scores[by].astype(np.float64)
    inside = np.zeros(len(values), dtype=np.int64)
    if rows.step["per"] is not None and groups is not None:
        inside = groups.ids
    final = selection.codes < 0
    far = _distances(values, inside, rows.left, rows.dropped)
    gone = _distances(values, inside, rows.dropped, rows.left)
    examples = [
        tuple(Example(row, selection.uid(row), float(values[row]), selection.reason(row)) for row in found)
        for found in (_nearest(far, rows.left & final, most), _nearest(gone, rows.dropped, most))
    ]
    return Side(by, number, examples[0], examples[1])


def _distances(values: np.ndarray, inside: np.ndarray, of: np.ndarray, to: np.ndarray) -> np.ndarray:
    """For the rows `of` how far their value is from the nearest of the rows `to` of the same group; else infinity."""
    far = np.full(len(values), np.inf)
    by_group = np.argsort(inside, kind="stable")
    for members in np.split(by_group, np.bincount(inside).cumsum()[:-1]):
        mine, others = members[of[members]], np.sort(values[members[to[members]]])
        if len(mine) and len(others):
            place = np.searchsorted(others, values[mine])
            above, below = others[np.minimum(place, len(others) - 1)], others[np.maximum(place - 1, 0)]
            far[mine] = np.minimum(abs(above - values[mine]), abs(values[mine] - below))
    return far


def _nearest(far: np.ndarray, among: np.ndarray, most: int) -> list[int]:
    """The rows `among` with the smallest distances, ties drawn by row number, then in the order of the corpus."""
    rows = np.flatnonzero(among)
    order = np.lexsort([mix(rows.astype(np.uint64), 0), far[rows]])
    return rows[order[:most]].tolist()


def _duplicates(selection: Selection, table: ScoreTable) -> list[Duplicates]:
    return [_pairs(selection, table, name) for name in table.score_columns if has_field(table, name, "nearest_row")]


def _pairs(selection: Selection, table: ScoreTable, name: str) -> Duplicates:
    scores, nearest = table.scores(name), table.read(name, "nearest_row").to_numpy()
    rows = np.flatnonzero(nearest >= 0)
    ordered = rows[np.lexsort([mix(rows.astype(np.uint64), 0), scores[rows]])]
    equal = scores[ordered] == 0
    chosen = [*ordered[equal][:MOST_EQUAL], *ordered[~equal]][:MOST_PAIRS]
    pairs = []
    for row in map(int, chosen):
        both = row, int(nearest[row])
        uids = tuple(selection.uid(place) for place in both)
        kept = tuple(bool(selection.codes[place] < 0) for place in both)
        pairs.append(Pair(*both, (uids[0], uids[1]), (kept[0], kept[1]), float(scores[row])))
    return Duplicates(name, int(equal.sum()), tuple(pairs))
