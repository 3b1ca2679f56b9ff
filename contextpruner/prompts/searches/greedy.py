"""Greedy dropping: again and again the piece goes whose loss hurts least.

    round:  i* = argmax_i score(prompt without i),   prompt = prompt without i*,   until it fits

n pieces of which k go cost about k (n - k / 2) prompts; with `at_once` a the a best go in each round, for an a-th of
that. Where evaluations run out before anything fits, the rest goes by the last round that was finished.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.run import BudgetSpent, Run
from contextpruner.prompts.search import Search


@dataclass(frozen=True)
class Greedy(Search):
    """Greedy dropping: each round drops the `at_once` pieces whose loss hurts least."""

    at_once: int = 1

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise ValueError(f"greedy wants at_once of at least 1, got {self.at_once}")

    def search(self, run: Run) -> Candidate:
        found, number = run.full, 0
        with suppress(BudgetSpent):
            while not run.fits(found):
                number += 1
                found = self._round(run, found, f"its loss hurt least in round {number}")
            run.score([found])
        return found if run.best is None else run.best

    def _round(self, run: Run, found: Candidate, reason: str) -> Candidate:
        """`found` without as many pieces as a round drops, or as few as make it fit."""
        free = np.array([piece for piece in run.task.pieces.free if found.kept[piece]])
        scores = run.score([found.without([piece], reason) for piece in free])
        # the better it is without a piece, the less that is worth; of equals the first goes
        run.worth[free] = -scores
        for piece in free[np.argsort(-scores, kind="stable")][: self.at_once]:
            found = found.without([piece], reason)
            if run.fits(found):
                break
        return found
