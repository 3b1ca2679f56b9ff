"""CoT-Max, published as CoT-Influx (Huang et al. 2023, arXiv:2312.08901): shots first, then tokens, by small policies.

    coarse   a policy keeps or drops each shot by its vector, under a limit of `coarse` times the budget
    fine     another keeps or drops each piece that is left, under the budget
    reward   R = 1 / (1 + L) * (t / T) ** w + accuracy,   w = 1 where t <= T, else -1

L is the mean loss of the answers, t the prompt's tokens, T the limit: as much as fits is wanted, and no more. A policy
is two layers over the model's own states (`_policy`), the mean of them for a shot; it is trained on the task itself, by
`steps` of `samples` draws for each stage. The paper trains one pair of policies over BERT's embeddings on many
questions, of which each then gets a prompt of its own; here the prompt is one, and so is what is learnt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.run import BudgetSpent, Run
from contextpruner.prompts.search import Search
from contextpruner.prompts.searches._policy import Policy

# from which of its items are kept, bool [items], to a prompt
Made = Callable[[np.ndarray], Candidate]


@dataclass(frozen=True)
class CoarseToFine(Search):
    """CoT-Max: a policy trained by reward chooses shots, another the tokens of what is left."""

    coarse: float = 1.5
    steps: int = 16
    samples: int = 8
    hidden: int = 32
    learning_rate: float = 0.02

    def __post_init__(self) -> None:
        if self.coarse < 1 or min(self.steps, self.samples - 1, self.hidden) < 1 or self.learning_rate <= 0:
            raise ValueError(f"coarse_to_fine wants coarse of at least 1, steps, and 2 samples at least, got {self}")

    def search(self, run: Run) -> Candidate:
        found = run.full
        try:
            found = self._coarse(run, found)
            found = self._fine(run, found)
            run.score([found])
        except BudgetSpent:
            found = run.shortened(found)
        return found if run.best is None else run.best

    def _coarse(self, run: Run, found: Candidate) -> Candidate:
        """`found` without the shots that the policy drops: of all that it drew, and its own, what is rewarded most."""
        pieces = run.task.pieces
        limit = int(self.coarse * run.max_tokens)
        shots = [np.flatnonzero(pieces.part == shot) for shot in sorted({*pieces.part[pieces.part >= 0].tolist()})]
        if len(shots) < 2 or run.length(found) <= limit:
            return found
        free = [shot[~pieces.is_protected[shot]] for shot in shots]
        states = run.task.states()

        def made(kept: np.ndarray) -> Candidate:
            gone = [piece for own, stays in zip(free, kept, strict=True) if not stays for piece in own]
            return found.without(gone, "its shot was dropped by the policy")

        def learnt(kept: np.ndarray) -> None:
            run.worth[:] = 1
            for shot, own in zip(shots, kept, strict=True):
                run.worth[shot] = own

        return self._trained(run, np.stack([states[shot].mean(0) for shot in shots]), made, limit, learnt)

    def _fine(self, run: Run, found: Candidate) -> Candidate:
        """`found` cut to fit by the policy's probabilities of its pieces, the least likely first."""
        own = np.array([piece for piece in run.task.pieces.free if found.kept[piece]])

        def made(kept: np.ndarray) -> Candidate:
            return found.without(own[~kept], "dropped by the policy")

        def learnt(probabilities: np.ndarray) -> None:
            run.worth[own] = probabilities

        if not run.fits(found):
            self._trained(run, run.task.states()[own], made, run.max_tokens, learnt)
        return run.shortened(found, "the policy keeps others first")

    def _trained(
        self, run: Run, vectors: np.ndarray, made: Made, limit: int, learnt: Callable[[np.ndarray], None]
    ) -> Candidate:
        """Train a policy over `vectors`, and tell `learnt` its probabilities; returns what was rewarded most."""
        share = limit / max(run.length(made(np.ones(len(vectors), dtype=bool))), 1)
        seed = int(run.draw.integers(1 << 31))
        policy = Policy(vectors, share, hidden=self.hidden, learning_rate=self.learning_rate, seed=seed)
        learnt(policy.probabilities())
        best, most = made(np.ones(len(vectors), dtype=bool)), -np.inf
        for step in range(self.steps + 1):
            kept = run.draw.random((self.samples, len(vectors))) < policy.probabilities()
            if step == self.steps:
                # what it would do without chance
                kept = policy.probabilities()[None] >= 0.5
            drawn = [made(one) for one in kept]
            rewards = _rewards(run, drawn, limit)
            if rewards.max() > most:
                best, most = drawn[int(rewards.argmax())], float(rewards.max())
            policy.learn(kept, rewards)
            learnt(policy.probabilities())
        return best


def _rewards(run: Run, candidates: list[Candidate], limit: int) -> np.ndarray:
    """The reward of each, float64 [candidates]."""
    likelihood, correct = run.means(candidates).T
    lengths = np.array([run.length(one) for one in candidates]) / max(limit, 1)
    by_length = np.where(lengths <= 1, lengths, 1 / np.maximum(lengths, 1))
    return by_length / (1 - likelihood) + correct
