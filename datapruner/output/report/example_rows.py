"""The rows that a report shows: both sides of each cut and the nearest duplicates, with their texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from datapruner.corpus.chunks import Chunk
from datapruner.corpus.source import Source
from datapruner.corpus.uids import splitmix64
from datapruner.output.report.statistics import Statistics, StepRows, column_of
from datapruner.scoring import progress
from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.groups import BLOCK, Groups, counts
from datapruner.selection.score_table_rows import ScoreTableRows
from datapruner.selection.selection import Selection
from datapruner.selection.step import Step

# rows on each side of all cuts together, and pairs of duplicates
MOST_EXAMPLES, MOST_PAIRS = 12, 20
# groups whose cuts are shown, the largest ones
MOST_GROUPS = 12
# steps and columns that have examples
MOST_SIDES, MOST_COLUMNS = 8, 4
# of the pairs, so many may be of equal texts: the others say more
MOST_EQUAL = 4
# characters that are kept of a text, of which the page shows a window
READ = 20_000


@dataclass(frozen=True)
class Example:
    """A row near a cut: on which score, why it was dropped where it was, and whose cut it is where groups have one."""

    row: int
    uid: str
    score: float
    reason: str | None
    group: str | None = None


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
    """The pairs of one column that names nearest rows, most alike first; `equal` rows have a score of 1."""

    column: str
    equal: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class ExampleRows:
    """Rows of a report."""

    sides: tuple[Side, ...]
    duplicates: tuple[Duplicates, ...]

    def rows(self) -> set[int]:
        """The numbers of all rows whose texts are wanted."""
        found = {example.row for side in self.sides for example in (*side.kept, *side.dropped)}
        return found | {row for item in self.duplicates for pair in item.pairs for row in (pair.row, pair.nearest)}


class ExampleTexts:
    """The beginnings of the texts of `rows`, collected while somebody goes through the corpus.

    `found` is None where the source has no texts.
    """

    def __init__(self, source: Source, selection: Selection, rows: Collection[int]) -> None:
        # under the field names with which it was scored: who only writes does not name them again
        used = selection.input["fields"]
        self.source = source.as_recorded(used)
        if used.get("on_error") is None:
            self.source = dataclasses.replace(self.source, uid=None, group=None, label=None, image=None)
        self.found: dict[int, str] | None = {} if self.source.has("texts") else None
        self.wanted = np.array(sorted(rows), dtype=np.int64)

    def collect(self, chunk: Chunk) -> None:
        """Take the texts of the wanted rows of `chunk`."""
        if self.found is None:
            return
        first, last = np.searchsorted(self.wanted, [chunk.start, chunk.start + len(chunk.rows)])
        for row in self.wanted[first:last].tolist():
            alone = dataclasses.replace(chunk, rows=chunk.rows.take([row - chunk.start]))
            self.found[row] = self.source.parsed(alone).texts[0][:READ]

    def read(self) -> None:
        """Collect from the chunks of the source up to the last wanted row."""
        with progress.display() as shown:
            bar = progress.Bar(shown, "report", None)
            for chunk in self.source.raw_chunks(whole=False):
                if self.found is None or not len(self.wanted) or chunk.start > self.wanted[-1]:
                    break
                with bar.working(chunk.start + len(chunk.rows)):
                    self.collect(chunk)


def choose_examples(selection: Selection, statistics: Statistics, table: ScoreTable | None) -> ExampleRows:
    """Which rows to show, always the same ones."""
    ranked = [(n, rows, by) for n, rows in enumerate(statistics.steps, start=1)
              if (by := column_of(rows.step, selection.scores)) and rows.dropped.any()][:MOST_SIDES]  # fmt: skip
    most = max(3, MOST_EXAMPLES // max(len(ranked), 1))
    sides = tuple(_side(selection, rows, (n, by), _groups_of(rows.step, table), most) for n, rows, by in ranked)
    found = () if table is None else tuple(_duplicates(selection, table))
    return ExampleRows(sides, found)


def _groups_of(step: Step, table: ScoreTable | None) -> Groups | None:
    """The groups that the step went by, which need not be those of the input; None where it or the table has none."""
    if table is None or step["per"] is None:
        return None
    try:
        return ScoreTableRows(table).groups_by(step["per"])
    except ValueError:
        return None


def _side(selection: Selection, rows: StepRows, named: tuple[int, str], groups: Groups | None, most: int) -> Side:
    number, by = named
    kept = rows.left & (selection.codes < 0)
    found: list[list[Example]] = [[], []]
    for group, members in _with_a_cut(rows, kept, groups):
        # what is shown is shared by the groups, and each has some
        few = most if groups is None or group is None else max(2, most // min(len(groups.names), MOST_GROUPS))
        for side, (of, to) in zip(found, ((kept, rows.dropped), (rows.dropped, rows.left)), strict=True):
            for row in _nearest(selection.scores[by], members, of, to, few):
                uid, score = selection.uid(row), float(selection.scores[by][row])
                side.append(Example(row, uid, score, selection.reason(row), group))
    return Side(by, number, tuple(found[0]), tuple(found[1]))


def _with_a_cut(
    rows: StepRows, kept: np.ndarray, groups: Groups | None
) -> Iterator[tuple[str | None, np.ndarray | None]]:
    """Names and members of the largest groups, those with rows on both sides of their cut before others; without
    groups one of all rows."""
    if groups is None:
        yield None, None
        return
    n_groups = len(groups.names)
    there = [counts(groups.ids[side], n_groups) > 0 for side in (kept, rows.dropped)]
    largest = np.lexsort([-counts(groups.ids, n_groups), ~(there[0] & there[1])])[:MOST_GROUPS]
    for group in sorted(largest[(there[0] | there[1])[largest]].tolist()):
        yield groups.names[group], np.flatnonzero(groups.ids == group)


def _nearest(values: np.ndarray, members: np.ndarray | None, of: np.ndarray, to: np.ndarray, most: int) -> list[int]:
    """The `most` rows `of` among `members` whose values are nearest to one of their rows `to`, ties drawn by number."""
    best, far = np.zeros(0, dtype=np.int64), np.zeros(0)
    mine = np.flatnonzero(of) if members is None else members[of[members]]
    others = np.sort(values[to] if members is None else values[members[to[members]]])
    for start in range(0, len(mine), BLOCK):
        block = mine[start : start + BLOCK]
        best, far = np.append(best, block), np.append(far, _distances(values[block], others))
        # what is certainly not among the nearest is left out before the rest is put in order
        limit = np.partition(far, most - 1)[most - 1] if len(far) > most else np.inf
        best, far = best[far <= limit], far[far <= limit]
        order = np.lexsort([splitmix64(best.astype(np.uint64), 0), far])[:most]
        best, far = best[order], far[order]
    return best.tolist()


def _distances(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How far each value is from the nearest of `others`, which are sorted; infinite where there is none."""
    if not len(others):
        return np.full(len(values), np.inf)
    place = np.searchsorted(others, values)
    near = values.astype(np.float64)
    above, below = others[np.minimum(place, len(others) - 1)], others[np.maximum(place - 1, 0)]
    return np.minimum(abs(above - near), abs(near - below))


def _duplicates(selection: Selection, table: ScoreTable) -> list[Duplicates]:
    names = [name for name in table.score_columns if table.has_detail(name, "nearest_row")]
    return [_pairs(selection, table, name) for name in names[:MOST_COLUMNS]]


def _pairs(selection: Selection, table: ScoreTable, name: str) -> Duplicates:
    scores, nearest = table.scores(name), table.read(name, "nearest_row").to_numpy()
    rows = np.flatnonzero(nearest >= 0)
    ordered = rows[np.lexsort([splitmix64(rows.astype(np.uint64), 0), -scores[rows]])]
    equal = scores[ordered] == 1
    chosen = [*ordered[equal][:MOST_EQUAL], *ordered[~equal]][:MOST_PAIRS]
    pairs = []
    for row in map(int, chosen):
        both = row, int(nearest[row])
        uids = tuple(selection.uid(place) for place in both)
        kept = tuple(bool(selection.codes[place] < 0) for place in both)
        pairs.append(Pair(*both, (uids[0], uids[1]), (kept[0], kept[1]), float(scores[row])))
    return Duplicates(name, int(equal.sum()), tuple(pairs))
