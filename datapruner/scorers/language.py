"""The language of the text, by py3langid (Lui and Baldwin 2012: byte n-grams, naive Bayes over 140 languages).

    score = probability of the wanted languages together

Higher is more surely in one of them. Reads at most the first `characters` of a text, which decide it and bound the
cost. Text without letters, say a table of numbers, is no language's: its probability is shared by all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from datapruner.scorers._last_batch import last_batch
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from prunekernels.extras import require

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier


@dataclass(frozen=True)
class Language(Scorer):
    """Paper: Lui and Baldwin 2012, langid.py (ACL demo); probability that the text is in one of `wanted`.

    `wanted` are codes of ISO 639-1, several joined by "+": "en+de".
    """

    wanted: str = "en"
    characters: int = 2000

    direction: ClassVar[str] = "higher is more surely in a wanted language; in [0, 1]"
    cost: ClassVar[str] = "one pass over the first characters of the text"
    default_selector: ClassVar[str] = "threshold:minimum=0.5"

    def check(self) -> None:
        if self.characters < 1:
            raise ValueError(f"language.characters wants at least 1, got {self.characters}")
        unknown = [code for code in self.wanted.split("+") if code not in self._identifier.labels]
        if unknown:
            known = " ".join(sorted(self._identifier.labels))
            raise ValueError(f"language.wanted: want codes joined by '+' of {known}, got {unknown[0]!r}")

    def identity(self) -> dict[str, str]:
        require("py3langid", "language")
        return {"py3langid": metadata.version("py3langid")}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        wanted = self.wanted.split("+")
        found = [sum(shares[code] for code in wanted) for shares in self._shares(batch)]
        return np.array(found, dtype=np.float32).clip(max=1)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`language`: the code of the likeliest one; `confidence`: its probability, float32."""
        likeliest = [max(shares.items(), key=lambda item: item[1]) for shares in self._shares(batch)]
        return {
            "language": np.array([code for code, _ in likeliest], dtype=str),
            "confidence": np.array([share for _, share in likeliest], dtype=np.float32),
        }

    def _shares(self, batch: Batch) -> list[dict[str, float]]:
        return last_batch(self, batch, self._compute)

    def _compute(self, batch: Batch) -> list[dict[str, float]]:
        rank = self._identifier.rank
        return [dict(rank(text[: self.characters])) for text in batch.texts]

    @cached_property
    def _identifier(self) -> LanguageIdentifier:
        library = require("py3langid.langid", "language")
        return library.LanguageIdentifier.from_model_file(library.MODEL_FILE, norm_probs=True)
