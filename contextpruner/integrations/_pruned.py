"""What the integrations of frameworks share: documents go in by their places, pruned ones come back with these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from contextpruner.decisions.rules import Policy
from contextpruner.documents.document import Document, read_document
from contextpruner.documents.format_detection import FORMATS
from contextpruner.pruner import ContextPruner
from contextpruner.results.result import PrunedDocument, Result

# under this key a framework's metadata says what was kept
NOTE = "contextpruner"


@dataclass(frozen=True)
class Pruned:
    """The place of a document that goes on, and what is kept of it; None where it has no text and goes on as it is."""

    place: int
    document: PrunedDocument | None


def pruned(
    pruner: ContextPruner,
    question: str,
    texts: Sequence[tuple[str | None, Mapping[str, object]]],
    policy: Policy | None,
    keep_empty: bool,
) -> list[Pruned]:
    """What goes on of `texts` with their metadata, in the order of the result.

    A document of which nothing is kept goes on only with `keep_empty`; one that has no text, say a picture, does.
    """
    given = [_document(place, text, metadata) for place, (text, metadata) in enumerate(texts) if text and text.strip()]
    found: list[Pruned] = []
    if given:
        result = pruner.prune(question, given, policy)
        found = [Pruned(int(one.id or 0), one) for one in result.documents if keep_empty or one.text.strip()]
    without = [Pruned(place, None) for place, (text, _) in enumerate(texts) if not (text and text.strip())]
    if policy is not None and policy.reorder:
        return found + without
    return sorted(found + without, key=lambda one: one.place)


def ranked(result: Result) -> list[tuple[int, PrunedDocument]]:
    """The documents with their places, best first; ties as they were given."""
    return sorted(enumerate(result.documents), key=lambda row: (-row[1].score, row[0]))


def noted(metadata: Mapping[str, object], document: PrunedDocument) -> dict[str, object]:
    """A copy of `metadata` that says what was kept: spans of the text that was given, and tokens before and after."""
    spans = [
        {"start": span.start, "end": span.end, "probability": span.probability, "reason": span.reason}
        for span in document.seen
        if span.kept
    ]
    note = {"spans": spans, "n_tokens_before": document.n_tokens_before, "n_tokens_after": document.n_tokens_after}
    return {**metadata, NOTE: note}


def _document(place: int, text: str | None, metadata: Mapping[str, object]) -> Document:
    """The document at `place`; its title, and its format where that is one of ours, may stand in its metadata."""
    format_ = metadata.get("format")
    fields = {"text": text, "metadata": dict(metadata), "format": format_ if format_ in FORMATS else None}
    return replace(read_document(f"document {place}", fields), id=place)
