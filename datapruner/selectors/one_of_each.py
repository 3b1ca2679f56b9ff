"""Keep one row of each cluster of copies, and every row that has none.

Clusters are those of a column that names for each row an earlier one, as near_duplicate and semantic_duplicate do: rows
are joined to the one they go for where they are more similar than `similarity`. Which of them stays is chosen anew:
the first of the source, the longest or shortest text, or the highest or lowest score of the column `by`. Copies of an
older corpus all go. With `rows` given so many stay exactly: the most similar are joined until there are no more
clusters than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from datapruner.selection.candidates import Candidates
from datapruner.selection.selector import Choice, Selector

Stays = Literal["first", "longest", "shortest", "highest", "lowest"]


@dataclass(frozen=True)
class OneOfEach(Selector):
    """Rule: of rows that are more alike than `similarity` by the column `copies`, the one that `stays` says."""

    copies: str = "near_duplicate"
    similarity: float = 0.8
    stays: Stays = "first"
    rows: int | None = None

    reads: ClassVar[str] = "similarities and the rows that they are of; texts' lengths or scores, where asked"
    direction: ClassVar[str] = "none: one row of each cluster of copies"
    cost: ClassVar[str] = "a sort of the similarities: O(N log N)"
    counts: ClassVar[bool] = False

    def check(self) -> None:
        if self.stays not in get_args(Stays):
            raise ValueError(f"one_of_each.stays wants {', '.join(get_args(Stays))}, got {self.stays!r}")
        if self.rows is not None and self.rows < 1:
            raise ValueError(f"one_of_each.rows wants at least 1, got {self.rows}")

    def default_by(self) -> str | None:
        return None if self.stays in ("highest", "lowest") else self.copies

    def choose(self, candidates: Candidates, n: int) -> Choice:
        if not len(candidates):
            return Choice(np.zeros(0, dtype=bool))
        # a row may be joined to another through one that competes no more
        similarity, nearest, older = (
            candidates.rows.field(self.copies, name, None) for name in ("score", "nearest_row", "against_row")
        )
        at = np.arange(len(candidates)) if candidates.at is None else candidates.at
        order = np.lexsort([candidates.rows.lots(self.seed, None), -similarity])
        is_linked = (nearest >= 0) | (older >= 0)
        order = order[is_linked[order]]

        def clusters_of(n_links: int) -> np.ndarray:
            """The cluster of each candidate where the most similar so many links hold; -1 is the older corpus."""
            parent = np.arange(len(similarity))
            joined = order[:n_links]
            parent[joined] = np.where(nearest[joined] >= 0, nearest[joined], -1)
            return _roots(parent)[at]

        n_links = int((similarity[order] > np.float32(self.similarity)).sum())
        if self.rows is not None:
            n_links = self._links_for(self.rows, clusters_of, len(order))
        return self._choice(candidates, at, clusters_of(n_links))

    def _links_for(self, rows: int, clusters_of: Callable[[int], np.ndarray], most: int) -> int:
        """How many links leave `rows` clusters: each one takes away one cluster or none."""
        low, high = 0, most
        if _n_clusters(clusters_of(0)) < rows or _n_clusters(clusters_of(most)) > rows:
            wanted = f"between {_n_clusters(clusters_of(most))} and {_n_clusters(clusters_of(0))}"
            raise ValueError(f"one_of_each.rows wants {wanted}, as the copies leave it, got {rows}")
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if _n_clusters(clusters_of(middle)) <= rows else (middle + 1, high)
        return low

    def _choice(self, candidates: Candidates, at: np.ndarray, clusters: np.ndarray) -> Choice:
        order = np.lexsort([candidates.lots(self.seed), self._preference(candidates, at), clusters])
        first = np.ones(len(order), dtype=bool)
        first[1:] = clusters[order][1:] != clusters[order][:-1]
        kept = np.zeros(len(order), dtype=bool)
        kept[order[first]] = True
        kept[clusters < 0] = False
        what = f"{self.stays} {candidates.by}" if self.stays in ("highest", "lowest") else self.stays
        by = self.copies if self.rows is not None else f"{self.copies} above {self.similarity:g}"
        texts = [f"copy by {by}, of which the {what} stays", f"copy of the older corpus by {by}"]
        return Choice(kept, (clusters < 0).astype(np.int8), texts)

    def _preference(self, candidates: Candidates, at: np.ndarray) -> np.ndarray:
        """A number for each candidate, smaller where it rather stays."""
        if self.stays == "first":
            return at
        if self.stays in ("longest", "shortest"):
            lengths = candidates.field("rows", "characters")
            return -lengths if self.stays == "longest" else lengths
        return -candidates.scores if self.stays == "highest" else candidates.scores


def _roots(parent: np.ndarray) -> np.ndarray:
    """Where the way up from each ends; -1 is above all that lead there."""
    found = np.append(parent, -1)
    while True:
        # each step halves the way; place -1 is the last one, which holds -1
        further = found[found]
        if (further == found).all():
            return found[:-1]
        found = further


def _n_clusters(clusters: np.ndarray) -> int:
    return len(np.unique(clusters[clusters >= 0]))
