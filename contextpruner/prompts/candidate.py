"""A prompt that a search looks at: which pieces are kept, and why each of the others is dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True, eq=False)
class Candidate:
    """`kept` bool [n], not to be changed; `reasons` has a few words for each piece that is dropped."""

    kept: np.ndarray
    reasons: Mapping[int, str]

    @classmethod
    def full(cls, n: int) -> Candidate:
        """Everything is kept."""
        return cls(np.ones(n, dtype=bool), MappingProxyType({}))

    def without(self, pieces: Iterable[int], reason: str) -> Candidate:
        """This candidate without `pieces`; those that are dropped already keep their reason."""
        new = [int(piece) for piece in pieces if self.kept[piece]]
        kept = self.kept.copy()
        kept[new] = False
        return Candidate(kept, MappingProxyType({**self.reasons, **dict.fromkeys(new, reason)}))

    def adding(self, pieces: Iterable[int]) -> Candidate:
        """This candidate with `pieces` back in their places."""
        back = {int(piece) for piece in pieces}
        kept = self.kept.copy()
        kept[[*back]] = True
        reasons = {piece: reason for piece, reason in self.reasons.items() if piece not in back}
        return Candidate(kept, MappingProxyType(reasons))
