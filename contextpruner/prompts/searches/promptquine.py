"""PromptQuine (Wang, Hu and Bing 2025, arXiv:2506.17930): prompts evolve by dropping tokens, judged on few rows.

    offspring   a parent, the best of `tournament` drawn ones, without 1 to `most_dropped` tokens more: none comes back
    fitness     the score on the first `few` rows
    survivors   the best `population`: of the offspring alone while nothing fits; behind that of all, what fits or is
                one mutation away before the rest
    end         `patience` generations without a fitter prompt that fits, or nothing left to drop
    re-ranking  the fittest `rerank` of all prompts that fit, scored on all rows: the best of these is kept

Published: populations of 30 with 50 offspring, 1 to 4 tokens at a time, at least 15 tokens left, and the fittest tenth
re-ranked. There, prompts have no limit; here, one is met sooner with more tokens at a time, and generations replace
their parents until it is. Evaluations are put by for re-ranking, so that a search that ends for want of them is
re-ranked too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.run import Run
from contextpruner.prompts.search import Search

Judged = list[tuple[float, Candidate]]


@dataclass(frozen=True)
class Promptquine(Search):
    """PromptQuine: prompts evolve, whose only mutation is to drop tokens, judged on few rows, then re-ranked."""

    population: int = 30
    offspring: int = 50
    most_dropped: int = 4
    tournament: int = 3
    few: int = 8
    min_tokens: int = 15
    patience: int = 10
    rerank: float = 0.1

    def __post_init__(self) -> None:
        least = min(self.population, self.offspring, self.most_dropped, self.tournament, self.few, self.patience)
        if least < 1 or self.min_tokens < 0 or not 0 < self.rerank <= 1:
            raise ValueError(f"promptquine wants counts of at least 1 and rerank in (0, 1], got {self}")

    def search(self, run: Run) -> Candidate:
        fitting: dict[bytes, tuple[float, Candidate]] = {}
        people: Judged = [(0.0, run.full)]
        behind, generation = 0, 0
        while behind < self.patience:
            generation += 1
            born = self._born(run, people, generation)
            judged = self._judged(run, born, len(fitting))
            if not judged:
                break
            fittest = max((score for score, _ in fitting.values()), default=-math.inf)
            fitting |= {one.kept.tobytes(): (score, one) for score, one in judged if run.fits(one)}
            # the published steady state once the limit is met
            pool = judged + (people if fitting else [])
            people = sorted(pool, key=lambda one: (self._is_far(run, one[1]), -one[0]))[: self.population]
            run.worth = np.mean([one.kept for _, one in people], axis=0)
            is_fitter = max((score for score, _ in fitting.values()), default=-math.inf) > fittest
            behind = 0 if is_fitter or not fitting else behind + 1
            if len(judged) < len(born):
                break
        return self._reranked(run, fitting, people)

    def _judged(self, run: Run, born: list[Candidate], n_fitting: int) -> Judged:
        """As many of `born` with their fitness as leave enough evaluations to re-rank by."""
        rows = range(min(self.few, run.task.n_rows))
        judged: Judged = []
        for child in born:
            put_by = self._n_reranked(n_fitting + len(judged) + 1) * (run.task.n_rows - len(rows))
            if run.left < len(rows) + put_by:
                break
            judged.append((float(run.score([child], rows)[0]), child))
        return judged

    def _is_far(self, run: Run, candidate: Candidate) -> bool:
        """Whether one mutation does not make it fit."""
        return run.length(candidate) > run.max_tokens + self.most_dropped

    def _n_reranked(self, n_fitting: int) -> int:
        return math.ceil(self.rerank * n_fitting)

    def _reranked(self, run: Run, fitting: dict[bytes, tuple[float, Candidate]], people: Judged) -> Candidate:
        if not fitting:
            return run.shortened(people[0][1])
        fittest = sorted(fitting.values(), key=lambda one: -one[0])[: self._n_reranked(len(fitting))]
        run.score([one for _, one in fittest])
        return fittest[0][1] if run.best is None else run.best

    def _born(self, run: Run, people: Judged, generation: int) -> list[Candidate]:
        """The offspring of `people`, of which none is too short and none is there twice."""
        born: dict[bytes, Candidate] = {one.kept.tobytes(): one for _, one in people}
        n_people = len(born)
        for _ in range(self.offspring):
            drawn = run.draw.integers(len(people), size=self.tournament)
            _, parent = max((people[place] for place in drawn), key=lambda one: one[0])
            free = [piece for piece in run.task.pieces.free if parent.kept[piece]]
            n_dropped = min(int(run.draw.integers(1, self.most_dropped + 1)), len(free))
            gone = run.draw.choice(free, size=n_dropped, replace=False) if free else ()
            child = parent.without(gone, f"dropped in generation {generation}")
            if run.length(child) >= min(self.min_tokens, run.max_tokens):
                born.setdefault(child.kept.tobytes(), child)
        return list(born.values())[n_people:]
