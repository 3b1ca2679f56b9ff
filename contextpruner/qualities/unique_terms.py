"""The share of a passage's terms that are not repeats (information-to-noise ratio, ITN; Zhu and Gauch 2000).

    score(d) = distinct terms / terms

Higher = less repetition: kept. The ratio falls with length, so that it favours short passages, and lost to random
where it was measured (benchmarks/passage_quality.py); one without terms scores 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from contextpruner.quality import Quality
from contextpruner.units.terms import terms


@dataclass(frozen=True)
class UniqueTerms(Quality):
    """Distinct terms over all terms."""

    def score(self, passage: str) -> float:
        found = terms(passage)
        return len(set(found)) / len(found) if found else 0.0
