"""Lead: the beginning of the prompt, as long as it fits; the baseline that asks nothing."""

from __future__ import annotations

from dataclasses import dataclass

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.run import Run
from contextpruner.prompts.search import Search


@dataclass(frozen=True)
class Lead(Search):
    """The beginning of the prompt that fits: no evaluations."""

    def search(self, run: Run) -> Candidate:
        # all are worth the same, and of equals the last go first
        return run.shortened(run.full, "behind what fits")
