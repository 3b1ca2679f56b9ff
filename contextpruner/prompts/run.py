"""One search on its way: what it may ask, what it has asked, and the best that it has seen.

An evaluation is one prompt on one row. Each counts once in a run, however often it is asked for, and also where it was
remembered from another run: so that a search's cost, and its end, hang on nothing but its settings and its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.evaluations import Evaluations, key_of
from contextpruner.prompts.task import Task

# told how many evaluations are used
Listener = Callable[[int], None]
SPENT = "no evaluations were left; of the rest it was worth least"


class BudgetSpent(Exception):  # noqa: N818 - the end of a search and no fault
    """Raised where an evaluation is wanted and none is left."""


class Run:
    """The budgets of a search: `max_tokens` of the pruned context, `max_evaluations`; and its draws, by `seed`.

    `worth` float64 [n] is what the search knows of pieces so far, higher is kept; a search writes to it.
    """

    def __init__(
        self, task: Task, max_tokens: int, max_evaluations: int, seed: int, remembered: Evaluations | None = None
    ) -> None:
        self.task = task
        self.max_tokens = max_tokens
        self.max_evaluations = max_evaluations
        self.draw = np.random.default_rng(seed)
        self.full = Candidate.full(len(task.pieces))
        self.worth = np.zeros(len(task.pieces))
        self.listener: Listener = lambda used: None
        self.used = 0
        self.seconds = 0.0
        self.best: Candidate | None = None
        self.best_score = -np.inf
        # the best score of each length that was scored on all rows
        self.front: dict[int, float] = {}
        self._remembered = Evaluations() if remembered is None else remembered
        self._counted: dict[str, set[int]] = {}
        self._scored: dict[str, float] = {}

    @property
    def left(self) -> int:
        """Evaluations that may still be asked for."""
        return self.max_evaluations - self.used

    def length(self, candidate: Candidate) -> int:
        """Its tokens."""
        return len(self.task.ids(candidate.kept))

    def fits(self, candidate: Candidate) -> bool:
        """Whether it is within the budget of tokens."""
        return self.length(candidate) <= self.max_tokens

    def score(self, candidates: Sequence[Candidate], rows: Sequence[int] | None = None) -> np.ndarray:
        """The mean score of each candidate over `rows`, by default over all: float64 [candidates], higher is better.

        Raises BudgetSpent at the first for which evaluations are wanting; those before it are seen.
        """
        return self.means(candidates, rows)[:, _COLUMNS[self.task.objective]]

    def means(self, candidates: Sequence[Candidate], rows: Sequence[int] | None = None) -> np.ndarray:
        """As `score`, with both numbers of a row, `likelihood` and `correct`: float64 [candidates, 2]."""
        asked = range(self.task.n_rows) if rows is None else rows
        found = np.empty((len(candidates), len(_COLUMNS)))
        for at, candidate in enumerate(candidates):
            counted = self._counted.setdefault(key_of(self.task, candidate.kept), set())
            new = [row for row in asked if row not in counted]
            if len(new) > self.left:
                raise BudgetSpent
            found[at] = [column.mean() for column in self._remembered.scores(self.task, candidate.kept, asked)]
            counted.update(new)
            self.used += len(new)
            self.seconds += self._remembered.seconds(self.task, candidate.kept, new)
            if rows is None:
                self._see(candidate, float(found[at, _COLUMNS[self.task.objective]]))
            self.listener(self.used)
        return found

    def score_of(self, candidate: Candidate) -> float | None:
        """Its score over all rows where that was asked for."""
        return self._scored.get(key_of(self.task, candidate.kept))

    def cut(self, candidate: Candidate, order: Sequence[int], reason: str) -> Candidate:
        """`candidate` without as many of the free pieces `order`, the first ones, as it takes to fit."""
        pieces = [int(piece) for piece in order if candidate.kept[piece] and not self.task.pieces.is_protected[piece]]
        # fewer pieces need not be fewer tokens, as they are cut anew: `high` is always known to fit
        low, high = 0, len(pieces)
        while low < high:
            middle = (low + high) // 2
            if self.fits(candidate.without(pieces[:middle], reason)):
                high = middle
            else:
                low = middle + 1
        return candidate.without(pieces[:low], reason)

    def shortened(self, candidate: Candidate, reason: str = SPENT) -> Candidate:
        """`candidate`, cut to fit by what the search knows of its pieces: the least worth first, the last of equals."""
        places = np.arange(len(self.worth))
        return self.cut(candidate, np.lexsort((-places, self.worth)).tolist(), reason)

    def _see(self, candidate: Candidate, score: float) -> None:
        length = self.length(candidate)
        self._scored[key_of(self.task, candidate.kept)] = score
        self.front[length] = max(score, self.front.get(length, -np.inf))
        if length > self.max_tokens:
            return
        # of equals the shorter one, then the earlier
        if self.best is None or (score, -length) > (self.best_score, -self.length(self.best)):
            self.best, self.best_score = candidate, score


# the places of what a search may go by in the numbers of a row
_COLUMNS = {"likelihood": 0, "accuracy": 1}
