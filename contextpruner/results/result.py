"""What pruning returns: numbers and character spans, from which every text is taken as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np

from contextpruner.decisions.rules import Policy, Reason, is_kept
from contextpruner.decisions.token_counter import TokenCounter, count_checked
from contextpruner.documents.document import Id
from contextpruner.documents.format_detection import Format
from contextpruner.units.formats.html.serialize import prune_html
from contextpruner.units.join import join_kept
from contextpruner.units.split import SplitDocument
from contextpruner.units.unit import Kind


@dataclass(frozen=True, slots=True)
class Span:
    """The characters [start, end) of a document, kept or dropped, and why.

    In HTML a span has the `path` of its element and the `text` that a reader sees, empty for markup between blocks.
    """

    start: int
    end: int
    probability: float
    kept: bool
    reason: Reason
    kind: Kind
    path: str = ""
    text: str | None = None


@dataclass(frozen=True)
class PrunedDocument:
    """One document with all of its spans, which partition `original`, in the order of the text.

    Characters and tokens are counted in what a reader sees, of the whole document and of what is kept: in HTML without
    tags and scripts. `metadata` is what else was given with it.
    """

    id: Id
    title: str | None
    format: Format
    original: str
    spans: tuple[Span, ...]
    score: float
    n_tokens_before: int
    n_tokens_after: int
    metadata: Mapping[str, object] = field(default_factory=dict, hash=False)

    def shown(self, span: Span) -> str:
        """What a reader sees of `span`: its slice of `original`, but in HTML, where that is free of markup."""
        return self.original[span.start : span.end] if span.text is None else span.text

    @cached_property
    def seen(self) -> tuple[Span, ...]:
        """The spans that a reader sees anything of: all but the markup between the blocks of HTML."""
        return tuple(span for span in self.spans if span.kind != "markup")

    @cached_property
    def text(self) -> str:
        """What is kept, as a reader sees it, for a prompt: the kept slices of `original` as they are, but in HTML.

        Where the end of a line is dropped, its line break stays (`units.join`).
        """
        return join_kept(map(self.shown, self.spans), (span.kept for span in self.spans))

    @cached_property
    def html(self) -> str | None:
        """Of a document in HTML: what is kept with the elements around it, balanced and without attributes."""
        if self.format != "html":
            return None
        return prune_html(self.original, [(span.start, span.end) for span in self.spans if span.kept])

    @property
    def n_characters_before(self) -> int:
        return sum(len(self.shown(span)) for span in self.spans)

    @property
    def n_characters_after(self) -> int:
        return len(self.text)


@dataclass(frozen=True)
class Result:
    """All documents of a question, in the order in which they were given; nothing is left out.

    `labeler` is the one that answered, and `note` says why where it is another than was asked for; `labelling_ms` is
    its time for this question, without loading a model.
    """

    question: str
    documents: tuple[PrunedDocument, ...]
    policy: Policy
    labeler: str
    labelling_ms: float
    note: str = ""

    @cached_property
    def text(self) -> str:
        """What is kept of all documents, for a prompt: each under its title, a blank line between them."""
        texts = [titled(document, document.text) for document in self.documents]
        return "\n\n".join(text for text in texts if text)

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
            **({"note": self.note} if self.note else {}),
            **_counts(self),
            "documents": [_document(number, document) for number, document in enumerate(self.documents, 1)],
        }


def pruned_document(
    document: SplitDocument, values: np.ndarray, score: float, reasons: list[Reason], count_tokens: TokenCounter
) -> PrunedDocument:
    """The document with what is kept of it; `values` are its units' probabilities."""
    texts = document.texts
    spans = tuple(
        Span(unit.start, unit.end, probability, is_kept(reason), reason, unit.kind, unit.path, unit.text)
        for unit, probability, reason in zip(document.units, values.tolist(), reasons, strict=True)
    )
    source = document.document
    return PrunedDocument(
        id=source.id,
        title=source.title,
        format=source.format,
        original=source.text,
        spans=spans,
        score=score,
        n_tokens_before=count_checked(count_tokens, "".join(texts)),
        n_tokens_after=count_checked(count_tokens, join_kept(texts, (span.kept for span in spans))),
        metadata=source.metadata,
    )


def name_of(index: int, document: PrunedDocument) -> str:
    """The title, else the id, else the place of a document."""
    if document.title:
        return document.title
    return f"document {index + 1}" if document.id is None else str(document.id)


def titled(document: PrunedDocument, text: str) -> str:
    """`text` of `document` under its title, where it does not begin with that; nothing where nothing is kept."""
    text = text.strip("\r\n").rstrip()
    begins = document.text.lstrip().startswith(document.title or "")
    return text if begins or not text else f"{document.title}\n{text}"


def other_name_of(document: PrunedDocument) -> str:
    """The id of a document that goes by its title, or nothing where it adds nothing."""
    adds = document.title and document.id is not None and str(document.id) != document.title
    return str(document.id) if adds else ""


def percent(after: int, before: int) -> str:
    """`after` as a share of `before`; nothing of nothing is 0 %."""
    return f"{100 * after / max(before, 1):.0f} %"


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
        "format": document.format,
        **({"metadata": {**document.metadata}} if document.metadata else {}),
        "score": document.score,
        "text": document.text,
        **_counts(document),
        **({} if document.html is None else {"html": document.html}),
        # the labels of citations.py
        "spans": [{"label": f"{number}.{place}", **_span(span)} for place, span in enumerate(document.spans, 1)],
    }


def _span(span: Span) -> dict[str, object]:
    """Without the text of what is dropped; and without the fields of HTML where a slice is all that there is."""
    held = asdict(span)
    path, text = held.pop("path"), held.pop("text")
    return held if text is None else held | {"path": path} | ({"text": text} if span.kept else {})
