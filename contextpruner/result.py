"""What pruning returns: numbers and character spans, from which every text is a verbatim slice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

from contextpruner.document import Id
from contextpruner.policy import Policy, Reason
from contextpruner.unit import Kind


@dataclass(frozen=True, slots=True)
class Span:
    """The characters [start, end) of a document, kept or dropped, and why."""

    start: int
    end: int
    probability: float
    kept: bool
    reason: Reason
    kind: Kind


@dataclass(frozen=True)
class PrunedDocument:
    """One document with all of its spans, which partition `original`, in the order of the text."""

    id: Id
    title: str | None
    original: str
    spans: tuple[Span, ...]
    score: float
    n_tokens_before: int
    n_tokens_after: int

    @cached_property
    def text(self) -> str:
        """What is kept: the kept slices of `original`, joined as they are."""
        return "".join(self.original[span.start : span.end] for span in self.spans if span.kept)

    @property
    def n_characters_before(self) -> int:
        return len(self.original)

    @property
    def n_characters_after(self) -> int:
        return sum(span.end - span.start for span in self.spans if span.kept)


@dataclass(frozen=True)
class Result:
    """All documents of a question, in the order in which they were given; nothing is left out.

    `labelling_ms` is the labeler's time for this question, without loading a model.
    """

    question: str
    documents: tuple[PrunedDocument, ...]
    policy: Policy
    labeler: str
    labelling_ms: float

    @property
    def n_characters_before(self) -> int:
        return sum(document.n_characters_before for document in self.documents)

    @property
    def n_characters_after(self) -> int:
        return sum(document.n_characters_after for document in self.documents)

    @property
    def n_tokens_before(self) -> int:
        return sum(document.n_tokens_before for document in self.documents)

    @property
    def n_tokens_after(self) -> int:
        return sum(document.n_tokens_after for document in self.documents)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON: the kept text and all spans, without the original texts."""
        return {
            "question": self.question,
            "labeler": self.labeler,
            "policy": asdict(self.policy),
            "labelling_ms": self.labelling_ms,
            **_counts(self),
            "documents": [_document(number, document) for number, document in enumerate(self.documents, 1)],
        }


def _counts(item: Result | PrunedDocument) -> dict[str, int]:
    return {
        "n_characters_before": item.n_characters_before,
        "n_characters_after": item.n_characters_after,
        "n_tokens_before": item.n_tokens_before,
        "n_tokens_after": item.n_tokens_after,
    }


def _document(number: int, document: PrunedDocument) -> dict[str, object]:
    return {
        "id": document.id,
        "title": document.title,
        "score": document.score,
        "text": document.text,
        **_counts(document),
        # the labels of citations.py
        "spans": [{"label": f"{number}.{place}", **asdict(span)} for place, span in enumerate(document.spans, 1)],
    }
