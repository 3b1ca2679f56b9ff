"""Random: every unit as likely as any other, the floor of every comparison.

    probability of unit i = the i-th draw of U[0, 1) seeded by (seed, question, title, text)

Higher = luckier. The draws hang on the question and the document alone, so that neither the order of the
documents nor their company changes them; two equal documents draw the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contextpruner.labeler import Labeler, Labels
from contextpruner.units.split import SplitDocument


@dataclass(frozen=True)
class Random(Labeler):
    """Uniform draws, seeded by the question and the document."""

    seed: int = 0

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        return Labels.best_unit([self._draw(question, document) for document in documents])

    def _draw(self, question: str, document: SplitDocument) -> np.ndarray:
        key = json.dumps([self.seed, question, document.document.title, document.document.text])
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
        return generator.random(len(document.units), dtype=np.float32)
