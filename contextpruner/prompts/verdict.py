"""What a pruned prompt is worth on held-out rows: against the full one, and against random dropping at equal length.

A search is fitted to few development rows, so that its own score there says little. Each held-out row is read under the
pruned prompt, the full one, and several prompts whose pieces went by lot until they were no longer than the pruned one;
of those each row has the mean. Differences are of the same row, their intervals resampled over rows (`bootstrap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.evaluations import Evaluations
from contextpruner.prompts.run import Run
from contextpruner.prompts.task import RowScores, Task
from contextpruner.training.evaluation.bootstrap import interval, resampled_means

Word = Literal["better", "worse", "no difference that can be told"]


@dataclass(frozen=True)
class Interval:
    """A mean over rows, or of paired differences, and its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def word(self) -> Word:
        """What the interval of a difference says."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no difference that can be told"


@dataclass(frozen=True)
class Scores:
    """Of rows, the mean log-likelihood of the right answers in nats, and accuracy where there are labels."""

    likelihood: Interval
    accuracy: Interval | None

    @property
    def main(self) -> Interval:
        """Accuracy where there is one."""
        return self.likelihood if self.accuracy is None else self.accuracy


def scores_of(task: Task, rows: RowScores) -> Scores:
    """`rows` of `task` in means with intervals."""
    return Scores(mean_of(rows.likelihood), mean_of(rows.correct) if task.has_labels else None)


def difference(task: Task, rows: RowScores, others: RowScores) -> Scores:
    """What `rows` have more than `others`, row by row."""
    return scores_of(task, RowScores(rows.likelihood - others.likelihood, rows.correct - others.correct))


def average(drawn: Sequence[RowScores]) -> RowScores:
    """Of each row the mean over several prompts."""
    return RowScores(*(np.mean(column, axis=0) for column in zip(*drawn, strict=True)))


def mean_of(values: np.ndarray) -> Interval:
    """The mean of `values` and its interval."""
    means = resampled_means(values.tolist(), [str(row) for row in range(len(values))])
    return Interval(float(values.mean()), *interval(means))


def rows_of(task: Task, candidate: Candidate, remembered: Evaluations) -> RowScores:
    """What `candidate` comes to on every row of `task`."""
    return remembered.scores(task, candidate.kept, range(task.n_rows))


def by_lot(task: Task, tokens: int, draws: int, seed: int) -> list[Candidate]:
    """Prompts of at most `tokens` tokens whose pieces went by lot: the same order for a draw at every length."""
    found = []
    for number in range(draws):
        run = Run(task, tokens, 0, seed)
        order = np.random.default_rng((seed, number)).permutation(len(task.pieces)).tolist()
        found.append(run.cut(run.full, order, "by lot"))
    return found
