"""Rows that compete, as a selector sees them: scores at hand, everything else read when it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from datapruner.corpus.uids import splitmix64


class CandidateColumns(Protocol):
    """All rows of a corpus; `at` are row numbers int64 [n], None is every row in order."""

    def lots(self, seed: int, at: np.ndarray | None) -> np.ndarray:
        """A uint64 for each row, from its uid and `seed` alone: as if drawn."""
        ...

    def field(self, column: str, name: str, at: np.ndarray | None) -> np.ndarray:
        """The field `name` of the column `column`, numbers [n]."""
        ...

    def vectors(self, column: str, at: np.ndarray | None) -> np.ndarray:
        """The vectors of a vector column, float32 [n, d]."""
        ...

    def state(self, column: str) -> Mapping[str, np.ndarray]:
        """What the `fit` of a column found."""
        ...


@dataclass(frozen=True, eq=False)
class Candidates:
    """Rows that compete: scores float32 [n], where the rest of them is, and their numbers there (None: all).

    `by` is the name of the score, for reasons. Without a score all of them are 0.
    """

    scores: np.ndarray
    rows: CandidateColumns
    at: np.ndarray | None = None
    by: str = "score"

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, indices: np.ndarray) -> Candidates:
        """The candidates `indices` int64, in that order."""
        at = indices if self.at is None else self.at[indices]
        return dataclasses.replace(self, scores=self.scores[indices], at=at)

    def lots(self, seed: int, indices: np.ndarray | None = None) -> np.ndarray:
        """What decides ties and draws: a uint64 for each candidate, or each of `indices`."""
        return self.rows.lots(seed, self._at(indices))

    def field(self, column: str, name: str) -> np.ndarray:
        """A field of another column, numbers [n], as in `field("prototypicality", "cluster")`."""
        return self.rows.field(column, name, self.at)

    def vectors(self, column: str) -> np.ndarray:
        """The vectors of the column `column`, float32 [n, d]."""
        return self.rows.vectors(column, self.at)

    def state(self, column: str) -> Mapping[str, np.ndarray]:
        """What the `fit` of the column `column` found."""
        return self.rows.state(column)

    def _at(self, indices: np.ndarray | None) -> np.ndarray | None:
        return self.at if indices is None else indices if self.at is None else self.at[indices]


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """Rows from arrays: keys uint64 [N] (hashes of their uids), `fields` by column and name, `arrays` of vectors."""

    keys: np.ndarray
    fields: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    states: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def lots(self, seed: int, at: np.ndarray | None) -> np.ndarray:
        return splitmix64(_of(self.keys, at), seed)

    def field(self, column: str, name: str, at: np.ndarray | None) -> np.ndarray:
        return _of(self.fields[column][name], at)

    def vectors(self, column: str, at: np.ndarray | None) -> np.ndarray:
        return _of(self.arrays[column], at)

    def state(self, column: str) -> Mapping[str, np.ndarray]:
        return self.states[column]


def _of(array: np.ndarray, at: np.ndarray | None) -> np.ndarray:
    return array if at is None else array[at]
