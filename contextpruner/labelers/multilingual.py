"""The packaged pruner: six layers of multilingual-e5-small that label tokens and rank, listening to BM25.

    ln(k / (1 - k)) = a ln(p / (1 - p)) + b q + c        p of `provence` with the packaged model, q of `bm25`

for units and, with weights of their own, for documents. The weights are those of a logistic regression on validation
questions (benchmarks/pruner/lexical_weight.py): a small model reads what is meant, and misses names and numbers that
BM25 finds. Without `lexical` it is p alone.

A text is beyond the model where at most half of the letters of the question, or of all documents, are of `SCRIPTS`,
those of the languages that it was trained in (the model card lists them). The labeler `otherwise` answers then, and the
result says so: its numbers P as P ** (ln t / ln s), for its threshold s to fall on t, the one here, so that one
threshold means about the same for both. Languages that share a script with those that were learnt are read, too,
though none was measured.

Higher = more of the unit is needed for the question. Numbers are probabilities of relevance, as far as the questions
are like those of the training. `precision` is by default int8 on a CPU and bfloat16 on a GPU.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch

from contextpruner.labeler import Fallback, Labeler, Labels, build_labeler
from contextpruner.labelers.bm25 import Bm25
from contextpruner.labelers.provence import Provence
from contextpruner.models.loading import Precision
from contextpruner.models.scripts import letters_by_script
from contextpruner.units.split import SplitDocument
from prunekernels import spec

MODEL = Path(__file__).parent.parent / "models" / "multilingual"
SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "BENGALI", "TELUGU", "THAI",
           "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL",
           "COMBINING", "FULLWIDTH", "HALFWIDTH")  # fmt: skip


class Weights(NamedTuple):
    """a of the model, b of BM25 and c, on the scale of log odds."""

    model: float
    lexical: float
    constant: float


OF_UNITS, OF_DOCUMENTS = Weights(1.0, 2.0, 0.0), Weights(1.0, 2.0, 0.0)
# removes 70 % of the characters of the validation questions
THRESHOLD = 0.5
EDGE = 1e-4


@dataclass(frozen=True)
class Multilingual(Labeler):
    """The packaged model, small enough for a CPU, in 25 languages; in others the labeler `otherwise`."""

    ranks_documents: ClassVar[bool] = True
    # what a text is beyond is asked of all documents together
    depends_on_batch: ClassVar[bool] = True

    lexical: bool = True
    otherwise: str = "bm25"
    threshold: float | None = None
    overlap: int = 64
    batch_size: int = 32
    precision: Literal["own"] | Precision = "own"
    device: str | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"multilingual wants a threshold in [0, 1], got {self.threshold}")
        _ = self._labeler, self._otherwise

    @property
    def model(self) -> str:
        """The folder of the packaged model, which its calibration lies in."""
        return str(MODEL)

    @property
    def default_threshold(self) -> float:
        own = self.threshold
        return own if own is not None else THRESHOLD if self.lexical else self._labeler.default_threshold

    def prepare(self) -> None:
        self._labeler.prepare()

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        reason = _beyond("the question is", [question])
        reason = reason or _beyond("the documents are", (document.document.text for document in documents))
        if not reason:
            return self._read(question, documents)
        said = self._otherwise.label(question, documents)
        power = self._power
        raised = tuple((values**power).astype("float32") for values in said.probabilities)
        fallback = Fallback(spec.describe(self._otherwise), reason)
        return Labels(raised, said.scores, fallback=fallback)

    def _read(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        own = self._labeler.label(question, documents)
        if not self.lexical:
            return own
        words = Bm25().label(question, documents)
        pairs = zip(own.probabilities, words.probabilities, strict=True)
        return Labels(tuple(mixed(*pair, OF_UNITS) for pair in pairs), mixed(own.scores, words.scores, OF_DOCUMENTS))

    @cached_property
    def _power(self) -> float:
        own, other = self.default_threshold, self._otherwise.default_threshold
        # a threshold of 0 or 1 has no power that leads to it
        return math.log(own) / math.log(other) if other and 0 < other < 1 and 0 < own < 1 else 1.0

    @cached_property
    def _otherwise(self) -> Labeler:
        return build_labeler(self.otherwise)

    @cached_property
    def _labeler(self) -> Provence:
        precision = self.precision
        if precision == "own":
            is_gpu = torch.cuda.is_available() if self.device is None else self.device.startswith("cuda")
            precision = "bfloat16" if is_gpu else "int8"
        return _packaged(self.overlap, self.batch_size, precision, self.device)


@functools.lru_cache(4)
def _packaged(overlap: int, batch_size: int, precision: Precision, device: str | None) -> Provence:
    """One for all pruners of a process that want the same."""
    return Provence(str(MODEL), overlap=overlap, batch_size=batch_size, precision=precision, device=device)


def mixed(own: np.ndarray, words: np.ndarray, weights: Weights) -> np.ndarray:
    """Numbers of the model in [0, 1] and of BM25, float32 [n] each, as one, float32 [n] in [0, 1]."""
    inside = own.astype(np.float64).clip(EDGE, 1 - EDGE)
    odds = weights.model * np.log(inside / (1 - inside)) + weights.lexical * words + weights.constant
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def _beyond(what: str, texts: Iterable[str]) -> str:
    """Why they are beyond the model, or nothing."""
    letters = sum((letters_by_script(text) for text in texts), Counter[str]())
    known = sum(letters[script] for script in SCRIPTS)
    if not letters or 2 * known > letters.total():
        return ""
    most = max(letters, key=lambda script: letters[script])
    return f"{what} in a script that the model was not trained in ({most.capitalize()})"
