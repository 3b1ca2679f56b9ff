"""The rows of several score tables, one after another, as if they were of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from datapruner.selection.decision import Decision
from datapruner.selection.groups import Groups, counts, smallest_type
from datapruner.selection.score_table_rows import ScoreTableRows


class JoinedRows:
    """`parts` in their order: the rows of part number p are those from starts[p] up to starts[p + 1]."""

    def __init__(self, parts: Sequence[ScoreTableRows]) -> None:
        self.parts = parts
        self.starts = np.append(0, np.cumsum([part.n_rows for part in parts], dtype=np.int64))

    @property
    def n_rows(self) -> int:
        return int(self.starts[-1])

    def lots(self, seed: int, at: np.ndarray | None) -> np.ndarray:
        return _of(np.concatenate([part.lots(seed, None) for part in self.parts]), at)

    def field(self, column: str, name: str, at: np.ndarray | None) -> np.ndarray:
        return _of(np.concatenate([part.field(column, name, None) for part in self.parts]), at)

    def vectors(self, column: str, at: np.ndarray | None) -> np.ndarray:
        raise ValueError(f"want one table for a rule that reads vectors ({column}), got {len(self.parts)}")

    def state(self, column: str) -> Mapping[str, np.ndarray]:
        raise ValueError(f"want one table for a rule that reads what fit found ({column}), got {len(self.parts)}")

    def scores(self, column: str) -> np.ndarray:
        return np.concatenate([part.scores(column) for part in self.parts])

    def has_every_row(self, column: str) -> bool:
        return all(part.has_every_row(column) for part in self.parts)

    def groups_by(self, column: str) -> Groups:
        found = [part.groups_by(column) for part in self.parts]
        names = tuple(sorted({name for groups in found for name in groups.names}))
        place = {name: number for number, name in enumerate(names)}
        kind = smallest_type(max(255, len(names)))
        ids = [np.array([place[name] for name in groups.names], dtype=kind)[groups.ids] for groups in found]
        return Groups(np.concatenate(ids), names)

    def part_of(self, decision: Decision, number: int, asked: np.ndarray | None) -> Decision:
        """What was decided about part `number`, of which the rows `asked` (None: all) competed."""
        rows = slice(*self.starts[number : number + 2])
        codes = decision.codes[rows]
        # reasons that no row of this part has are left out
        used = np.flatnonzero(counts(codes[codes >= 0], len(decision.reasons)))
        renumber = np.full(len(decision.reasons) + 1, -1, dtype=smallest_type(max(127, len(used)), signed=True))
        renumber[used] = np.arange(len(used))
        n_rows = len(codes) if asked is None else len(asked)
        kept = codes < 0 if asked is None else codes[asked] < 0
        return Decision(
            codes=renumber[codes],
            reasons=tuple(decision.reasons[number] for number in used.tolist()),
            scores={name: values[rows] for name, values in decision.scores.items()},
            weights=None if decision.weights is None else decision.weights[rows],
            n_rows=n_rows,
            n_kept=int(np.count_nonzero(kept)),
        )


def _of(array: np.ndarray, at: np.ndarray | None) -> np.ndarray:
    return array if at is None else array[at]
