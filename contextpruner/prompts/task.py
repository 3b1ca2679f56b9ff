"""The contract of what a search looks at: a prompt in pieces, and rows that say how good what is kept of it is.

A search knows nothing else: no model, no text of a row. `score` hangs on nothing but the candidate and the rows that
are asked for, in their order, so that what is remembered is what would be computed again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from contextpruner.prompts.pieces import Pieces


class RowScores(NamedTuple):
    """Of each row, float64 [r]: `likelihood`, ln p of what is right; `correct`, 1 or 0 where that is most likely.

    Of labels p is among the labels; of a free answer it is that of a token, on average, and `correct` is 0.
    """

    likelihood: np.ndarray
    correct: np.ndarray


class Task(ABC):
    """`name` tells model, rows and form: tasks of one name score alike. `n_rows` rows are numbered from 0."""

    name: str
    pieces: Pieces
    n_rows: int
    # whether there are labels, so that an answer is right or wrong
    has_labels: bool
    # what a search takes for the score of a row
    objective: str = "likelihood"

    @abstractmethod
    def ids(self, kept: np.ndarray) -> tuple[int, ...]:
        """The tokens of the pruned context: their number is its length, and equal tokens are scored once."""

    @abstractmethod
    def score(self, kept: np.ndarray, rows: Sequence[int]) -> RowScores:
        """How good the pruned prompt is on `rows`."""

    @abstractmethod
    def embeddings(self) -> np.ndarray:
        """float32 [n, D]: pieces as a model's vocabulary has them, wherever they stand; equal texts are equal."""

    @abstractmethod
    def states(self) -> np.ndarray:
        """float32 [n, D]: pieces as a model reads them in the full prompt."""
