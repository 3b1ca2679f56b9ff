"""Random: a draw that hangs on the passage's text and the seed alone, the floor of every comparison."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from contextpruner.quality import Quality


@dataclass(frozen=True)
class Random(Quality):
    """A uniform draw in [0, 1), the same for equal passages."""

    seed: int = 0

    def score(self, passage: str) -> float:
        digest = hashlib.blake2b(passage.encode(), digest_size=8, salt=self.seed.to_bytes(8, "little", signed=True))
        return int.from_bytes(digest.digest(), "little") / 2**64
