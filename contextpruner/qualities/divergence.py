"""Divergence of a passage's terms from the collection's (CDD, collection-document distance; Zhou and Croft 2005).

    score(d) = - sum over the passage's terms of p(t|d) log2(p(t|d) / p(t|C))

the Kullback-Leibler divergence in bits, negative, p being shares of all terms. Higher = worded like the collection:
kept; lists, spam and other odd texts diverge from it. Short passages diverge more than long ones by chance alone. A
passage without terms scores like one whose only term stands nowhere else: last.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from contextpruner.quality import Quality
from contextpruner.units.terms import terms


@dataclass(frozen=True)
class Divergence(Quality):
    """How little the passage's terms diverge from those of the whole collection, by Kullback and Leibler."""

    counts: Mapping[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    total: int = field(default=0, init=False, repr=False, compare=False)

    def fit(self, passages: Iterable[str]) -> Divergence:
        counts: Counter[str] = Counter()
        for passage in passages:
            counts.update(terms(passage))
        fitted = replace(self)
        object.__setattr__(fitted, "counts", counts)
        object.__setattr__(fitted, "total", counts.total())
        return fitted

    def score(self, passage: str) -> float:
        own = Counter(terms(passage))
        length = own.total()
        if not length:
            return -math.log2(max(self.total, 1))
        # a term that the collection has not, which only a passage of another collection brings, counts as seen once
        shares = (
            (count / length, max(self.counts.get(term, 0), 1) / max(self.total, 1)) for term, count in own.items()
        )
        return -math.fsum(share * math.log2(share / everywhere) for share, everywhere in shares)
