"""The packaged pruner: six layers of multilingual-e5-small that label tokens and rank, as `provence` does, and words.

    l, r = logits of P(provence) and of its score, m and R = the largest l and r of all documents asked about together
    z = WEIGHTS . (l, l - m, logit P(bm25), 1), Z = the largest z of all documents
    logit P = z - max(0, Z - ANSWERS . (R, 1))              where question and texts are in the model's scripts
    P = P(otherwise) ** (ln t / ln s)                       else, for s to fall on t
    score                                                   that of `provence`, or of `otherwise`

Both are logistic regressions on validation sets: WEIGHTS of the gold units of 2,100 questions of 23 sources, ANSWERS
of whether a question's documents answer it at all. A small encoder misses rare words that it need only have compared,
and the lexical labeler misses whatever is said in other words. Of two units that look as good, the one beside a
better one answers less often, so that one threshold serves easy and hard questions. No unit is needed more likely
than that the documents answer, and the others keep their distances. So what is said of a unit hangs on the documents
it is asked about with.

t is the packaged calibration's threshold for a recall of 95 % and s that of `otherwise`, so that one threshold means
about the same for both, and the order of units is that of `otherwise`. A text is beyond the model where at most half of
the letters of the question, or of all documents, are of `SCRIPTS`, those of the languages that it was trained in (the
model card lists them); the result says so. Languages that share a script with them are read, too, though none was
measured.

Higher = the unit is more likely needed for the question: about the probability of that, as far as questions are like
those of the training. A calibration's promise does not hold where `otherwise` answers. `precision` is by default int8
on a CPU (float32 where torch has no oneDNN) and bfloat16 on a GPU.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from contextpruner.labeler import Fallback, Labeler, Labels, above, build_labeler
from contextpruner.labelers.provence import Provence
from contextpruner.models.loading import Precision
from contextpruner.models.scripts import letters_by_script
from contextpruner.units.split import SplitDocument
from prunekernels import spec

MODEL = Path(__file__).parent.parent / "models" / "multilingual"
SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "BENGALI", "TELUGU", "THAI",
           "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL",
           "COMBINING", "FULLWIDTH", "HALFWIDTH")  # fmt: skip


# of the model's logit, of its distance to the best one's, of the lexical one, and a constant
WEIGHTS = (0.81, 0.80, 0.09, 0.72)
# of the best document's score, and a constant: whether the documents answer
ANSWERS = (0.74, -0.54)
# how near to 0 and 1 a probability counts
EDGE = 1e-3
# that of the packaged calibration for a recall of 95 %
THRESHOLD = 0.0391


@dataclass(frozen=True)
class Multilingual(Labeler):
    """The packaged model, small enough for a CPU, in 25 languages; in others the labeler `otherwise`."""

    ranks_documents: ClassVar[bool] = True
    # the best unit of all documents counts for each, and what a text is beyond is asked of all together
    depends_on_batch: ClassVar[bool] = True

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
        return THRESHOLD if self.threshold is None else above(self.threshold)

    def prepare(self) -> None:
        self._labeler.prepare()

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        reason = _beyond("the question is", [question])
        reason = reason or _beyond("the documents are", ("".join(document.texts) for document in documents))
        if not reason:
            read, words = self._labeler.label(question, documents), self._lexical.label(question, documents)
            return Labels(mixed(read, words.probabilities), read.scores)
        said = self._otherwise.label(question, documents)
        power = self._power
        raised = tuple((values**power).astype("float32") for values in said.probabilities)
        fallback = Fallback(spec.describe(self._otherwise), reason)
        return Labels(raised, said.scores, fallback=fallback)

    @cached_property
    def _power(self) -> float:
        own, other = self.default_threshold, self._otherwise.default_threshold
        # a threshold of 0 or 1 has no power that leads to it
        return math.log(own) / math.log(other) if other and 0 < other < 1 and 0 < own < 1 else 1.0

    @cached_property
    def _lexical(self) -> Labeler:
        return build_labeler("bm25")

    @cached_property
    def _otherwise(self) -> Labeler:
        return build_labeler(self.otherwise)

    @cached_property
    def _labeler(self) -> Provence:
        precision = self.precision
        if precision == "own":
            is_gpu = torch.cuda.is_available() if self.device is None else self.device.startswith("cuda")
            on_cpu: Precision = "int8" if torch.backends.mkldnn.is_available() else "float32"
            precision = "bfloat16" if is_gpu else on_cpu
        return _packaged(self.overlap, self.batch_size, precision, self.device)


def mixed(read: Labels, words: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Probabilities of the units of each document, float32 [n], out of the model's labels and the lexical ones."""
    inputs = mixture_inputs(np.concatenate([*read.probabilities, []]), np.concatenate([*words, []]))
    own, most = inputs @ np.array(WEIGHTS), answer_inputs(read.scores) @ np.array(ANSWERS)
    probabilities = (1 / (1 + np.exp(-limited(own, most)))).astype(np.float32)
    ends = np.cumsum([len(own) for own in words], dtype=np.int64)
    return tuple(probabilities[end - len(own) : end] for own, end in zip(words, ends, strict=True))


def limited(values: np.ndarray, most: float) -> np.ndarray:
    """Logits [n] of a question's units, all moved by as much as the largest is above `most`."""
    return values - max(0.0, float(values.max()) - most) if len(values) else values


def mixture_inputs(read: np.ndarray, words: np.ndarray) -> np.ndarray:
    """What `WEIGHTS` are put on, float64 [n, 4], of the probabilities [n] of all units of a question's documents."""
    own = logits(read)
    return np.stack([own, own - own.max(initial=-np.inf), logits(words), np.ones(len(own))], 1)


def answer_inputs(scores: np.ndarray) -> np.ndarray:
    """What `ANSWERS` are put on, float64 [2], of the scores in [0, 1] of a question's documents."""
    return np.array([logits(scores).max(initial=-np.inf), 1.0])


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Of probabilities [n], float64 [n]; what is certain is taken as `EDGE` less."""
    inside = probabilities.astype(np.float64).clip(EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))


@functools.lru_cache(4)
def _packaged(overlap: int, batch_size: int, precision: Precision, device: str | None) -> Provence:
    """One for all pruners of a process that want the same."""
    return Provence(str(MODEL), overlap=overlap, batch_size=batch_size, precision=precision, device=device)


def _beyond(what: str, texts: Iterable[str]) -> str:
    """Why they are beyond the model, or nothing."""
    letters = sum((letters_by_script(text) for text in texts), Counter[str]())
    known = sum(letters[script] for script in SCRIPTS)
    if not letters or 2 * known > letters.total():
        return ""
    most = max(letters, key=lambda script: letters[script])
    return f"{what} in a script that the model was not trained in ({most.capitalize()})"
