"""Random dropping, tried again and again: the floor of every search that asks as much.

    for each draw: pieces go by lot until the prompt fits;   the best on the development rows is kept

What random dropping is worth by itself, without a choice among draws, is told beside every search (`verdict`).
"""

from __future__ import annotations

from dataclasses import dataclass

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.run import Run
from contextpruner.prompts.search import Search


@dataclass(frozen=True)
class Random(Search):
    """Random dropping: the best of `draws` prompts whose pieces go by lot until they fit."""

    draws: int = 32

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"random wants at least 1 draw, got {self.draws}")

    def search(self, run: Run) -> Candidate:
        found = run.full
        for _ in range(self.draws):
            run.worth = run.draw.random(len(run.worth))
            found = run.shortened(run.full, "by lot")
            run.score([found])
        return found if run.best is None else run.best
