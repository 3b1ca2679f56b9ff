"""Bi-encoder: question and unit embedded apart and compared (RECOMP's extractive form, Xu et al. 2023).

    cos(u) = cos(e(question), e(u)),     on a scale that is the same for every question (`_comparable_cosines`)

Any sentence-transformers model, a folder or a hub id, run in float32; its own query and document prompts are used.
Higher = closer in meaning; it is not a probability of relevance. A unit's number depends on its company, though not on
its order. `unrelated` is the best cosine at which it is undecided whether anything answers, and the model's own. With
`use_title` a unit is read as its document's title, a line break, and the unit; behind the title stand the headings, the
header or the lead-in that introduce it. What is longer than the model's window is judged by its beginning.

Equal texts are embedded once, and batches are sorted by length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from contextpruner.documents.cache import Encoded
from contextpruner.labeler import Labeler, Labels
from contextpruner.labelers._comparable_cosines import check_unrelated, comparable
from contextpruner.models.batches import check_batch_size
from contextpruner.models.sentence_transformer import load_sentence_transformer
from contextpruner.units.split import SplitDocument

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


# of the headings, the header and the lead-in that are read before a unit
LENT_CHARACTERS = 300


@dataclass(frozen=True)
class BiEncoder(Labeler):
    """Cosine of the question's and the unit's embeddings, from any sentence-transformers model."""

    depends_on_batch: ClassVar[bool] = True

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    device: str | None = None
    batch_size: int = 64
    use_title: bool = True
    unrelated: float = 0.2

    def __post_init__(self) -> None:
        check_batch_size("bi_encoder", self.batch_size)
        check_unrelated("bi_encoder", self.unrelated)

    def prepare(self) -> None:
        _ = self._encoder

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        return self.label_encoded([question], documents, self.encode(documents))[0]

    def encode(self, documents: Sequence[SplitDocument]) -> list[Encoded]:
        texts = [self._texts(document) for document in documents]
        distinct = {text: row for row, text in enumerate(dict.fromkeys(text for row in texts for text in row))}
        if not distinct:
            return [{"vectors": np.zeros((0, 1), np.float32)} for _ in documents]
        embedded = self._encoder.encode_document(list(distinct), **self._options)
        return [{"vectors": embedded[[distinct[text] for text in row]]} for row in texts]

    def label_encoded(
        self, questions: Sequence[str], documents: Sequence[SplitDocument], encoded: Sequence[Encoded]
    ) -> list[Labels]:
        vectors = tuple(one["vectors"] for one in encoded)
        asked = self._encoder.encode_query(list(questions), **self._options)
        found = ([_cosines(own, one) for own in vectors] for one in asked)
        return [Labels.best_unit(comparable(cosines, documents, self.unrelated), vectors) for cosines in found]

    @property
    def _options(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size, "normalize_embeddings": True, "show_progress_bar": False}

    def _texts(self, document: SplitDocument) -> list[str]:
        """What is read of each unit."""
        title = document.document.title if self.use_title else None
        own = [text.strip() for text in document.texts]
        read = []
        for text, introducing in zip(own, document.introduced_by, strict=True):
            # the nearest of what introduces it is the last to go
            before = "\n".join(own[index] for index in reversed(introducing))[-LENT_CHARACTERS:]
            read.append("\n".join(part for part in (title, before, text) if part))
        return read

    @cached_property
    def _encoder(self) -> SentenceTransformer:
        return load_sentence_transformer(self.model, self.device)


def _cosines(vectors: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """float32 [units]; row by row, so that equal vectors give equal bits wherever they stand."""
    if not len(vectors):
        return np.zeros(0, np.float32)
    return (vectors * asked).sum(1).clip(0, 1).astype(np.float32)
