"""The contract of searches: a run in, the prompt that they settle on out; and how one is run within its budgets.

A search asks `run.score` for as much as it likes: where no evaluation is left it is ended there, and the best prompt
within the tokens that was scored on all rows is taken; where there is none, the full prompt, shortened by what the
search knows by then. So every search keeps both budgets, whatever it does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.run import BudgetSpent, Run
from prunekernels import spec

SEARCHES = "contextpruner.prompts.searches"


@dataclass(frozen=True)
class Search(ABC):
    """Base of all searches: frozen dataclasses with a default for every field."""

    def prepare(self) -> None:  # noqa: B027
        """Load what the search needs beside the task; raises ValueError where something is wanting."""

    @abstractmethod
    def search(self, run: Run) -> Candidate:
        """The prompt that the search settles on; one that does not fit is shortened."""


@dataclass(frozen=True)
class Found:
    """What a search came to: `score` on all development rows, None where they were not asked.

    `front` has the best score of each length that was scored on all rows. `seconds` are those of the evaluations, also
    of those that were remembered.
    """

    candidate: Candidate
    tokens: int
    score: float | None
    evaluations: int
    seconds: float
    front: Mapping[int, float]


def build_search(text: str) -> Search:
    """The search that `text` describes, say "greedy" or "promptquine:population=10"."""
    return spec.build(SEARCHES, text, Search)  # type: ignore[type-abstract]


def find_prompt(search: Search, run: Run) -> Found:
    """What `search` comes to within the budgets of `run`, a new one.

    Raises ValueError where what is never dropped is longer than the budget of tokens.
    """
    if run.max_tokens < 0 or run.max_evaluations < 0:
        raise ValueError(f"want budgets of at least 0, got {run.max_tokens} tokens, {run.max_evaluations} evaluations")
    least = run.full.without(run.task.pieces.free, "")
    if not run.fits(least):
        kept = run.length(least)
        raise ValueError(f"want a budget of at least the {kept} tokens that are never dropped, got {run.max_tokens}")
    search.prepare()
    found = run.full if run.fits(run.full) else _searched(search, run)
    return Found(found, run.length(found), run.score_of(found), run.used, run.seconds, dict(sorted(run.front.items())))


def _searched(search: Search, run: Run) -> Candidate:
    try:
        found = search.search(run)
    except BudgetSpent:
        found = run.full if run.best is None else run.best
    if not np.all(found.kept[run.task.pieces.is_protected]):
        raise ValueError(f"{type(search).__name__} dropped pieces that are protected")
    return found if run.fits(found) else run.shortened(found)
