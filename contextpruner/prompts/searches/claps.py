"""ClaPS (Zhou et al. 2023, arXiv:2310.12774): few tokens decide, so cluster, prune what has no influence, and search.

    clusters        k-means over the pieces' embeddings: pieces of one cluster are one variable of the search
    influence(c)    [score(full) - score(full without c)] / pieces of c
    search space    the most influential clusters, of up to `space` times as many tokens as the budget; the rest goes
    search          from what fits of them by influence: a cluster goes, others come back as far as there is room,
                    and what scores better stays

The paper prunes a vocabulary of which prompts are written, and keeps the most influential tenth of it; here it is the
tokens of a prompt that is given, and how much is kept hangs on the budget. Its simple searches, greedy or evolutionary,
are here a hill climb. With `clusters` of at least the different pieces, influence is that of each piece left out.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.run import BudgetSpent, Run
from contextpruner.prompts.search import Search
from prunekernels.kmeans import kmeans

# runs of k-means, of which the tightest is taken
STARTS = 8


@dataclass(frozen=True)
class Claps(Search):
    """ClaPS: influence of clusters of tokens by leaving them out, then a hill climb over the influential ones."""

    clusters: int = 64
    space: float = 1.5
    # steps without a better prompt before the climb ends
    patience: int = 32

    def __post_init__(self) -> None:
        if self.clusters < 1 or self.space < 1 or self.patience < 1:
            raise ValueError(f"claps wants clusters, space and patience of at least 1, got {self}")

    def search(self, run: Run) -> Candidate:
        groups = _clusters(run, self.clusters)
        influence = np.full(len(groups), -np.inf)
        whole = run.score([run.full])[0]
        for place, group in enumerate(groups):
            without = run.score([run.full.without(group, f"cluster {place} left out")])[0]
            influence[place] = (whole - without) / len(group)
            # known one by one: what is left where evaluations run out goes by what is known
            run.worth[group] = influence[place]
        space = [groups[place] for place in self._space(run, groups, influence)]
        inside = {int(piece) for group in space for piece in group}
        outside = [piece for piece in run.task.pieces.free if piece not in inside]
        found = run.shortened(run.full.without(outside, "little influence"), "less influence than what fits")
        with suppress(BudgetSpent):
            self._climb(run, found, space)
        return found if run.best is None else run.best

    def _space(self, run: Run, groups: list[np.ndarray], influence: np.ndarray) -> list[int]:
        """The most influential clusters that together are `space` times the budget, or the first that is more."""
        kept = run.full.without(run.task.pieces.free, "")
        chosen: list[int] = []
        for place in np.argsort(-influence, kind="stable").tolist():
            if run.length(kept) >= self.space * run.max_tokens:
                break
            kept = kept.adding(groups[place])
            chosen.append(place)
        return chosen

    def _climb(self, run: Run, found: Candidate, space: list[np.ndarray]) -> None:
        best, behind = run.score([found])[0], 0
        while behind < self.patience and len(space) > 1:
            changed = _neighbour(run, found, space)
            score = run.score([changed])[0]
            behind += 1
            if score > best:
                found, best, behind = changed, score, 0


def _clusters(run: Run, k: int) -> list[np.ndarray]:
    """The free pieces in up to `k` groups of like embeddings, each in order, the group of the first piece first."""
    pieces = run.task.pieces
    free = pieces.free
    vectors = run.task.embeddings()[free]
    different = {pieces.texts[piece] for piece in free.tolist()}
    if k >= len(free):
        return [free[at : at + 1] for at in range(len(free))]
    made = []
    for _ in range(STARTS):
        # faiss and torch differ in bits: a search is the same whether faiss is there or not
        seed = int(run.draw.integers(1 << 31))
        made.append(kmeans(torch.from_numpy(vectors), min(k, len(different)), seed=seed, backend="torch"))
    found = max(made, key=lambda one: float(one.similarity.sum())).assignment.numpy()
    numbers = dict.fromkeys(found.tolist())
    return [free[found == number] for number in numbers]


def _neighbour(run: Run, found: Candidate, space: list[np.ndarray]) -> Candidate:
    """`found` without one cluster of it, by lot, and with others in a drawn order as far as they fit."""
    inside = [place for place, group in enumerate(space) if found.kept[group].any()]
    if not inside:
        return found
    gone = inside[int(run.draw.integers(len(inside)))]
    changed = found.without(space[gone], "better without its cluster")
    for place in run.draw.permutation(len(space)).tolist():
        if place != gone:
            more = changed.adding(space[place])
            changed = more if run.fits(more) else changed
    return changed
