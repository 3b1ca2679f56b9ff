"""Shadow mode: answers hold everything, the log says what would have been dropped, and whether an answer leaned on it.

A reader's answer leans on dropped text where it cites a dropped unit by its label ("[1.3]"), or where the unit that the
labeler puts nearest to the answer, asked with the answer in the question's place, is a dropped one (`NEAREST`). That
is a sign and no proof: it is as good as the labeler.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from contextpruner.decisions.rules import Policy
from contextpruner.documents.document import Document
from contextpruner.results.citations import find_citations
from contextpruner.results.result import PrunedDocument, Result, Span

# the unit that is nearest to an answer, alone
NEAREST = Policy(top_k=1, closure=(), empty="empty")
# spans of a document that a line of the log names
NAMED = 200


def unpruned(result: Result) -> Result:
    """`result` with everything kept."""
    return replace(result, documents=tuple(map(_whole, result.documents)))


def dropped(result: Result) -> list[dict[str, object]]:
    """Of each document that would be cut: its place, its tokens, and where its dropped units are."""
    lines = []
    for number, document in enumerate(result.documents):
        spans = [[span.start, span.end] for span in document.seen if not span.kept]
        if spans:
            counts = {"n_tokens_before": document.n_tokens_before, "n_tokens_after": document.n_tokens_after}
            lines.append({"document": number, **counts, "n_dropped": len(spans), "dropped": spans[:NAMED]})
    return lines


def documents_of(result: Result) -> list[Document]:
    """The documents of `result` as they were given."""
    return [Document(one.original, one.id, one.title, one.format) for one in result.documents]


def leaning(result: Result, nearest: Result, answer: str) -> dict[str, object]:
    """Whether `answer` leans on what `result` drops; `nearest` keeps the units that are nearest to the answer."""
    kept = {label for label, span in _labelled(result) if span.kept}
    near = [label for label, span in _labelled(nearest) if span.kept]
    cited = [citation.label for citation in find_citations(unpruned(result), answer)]
    missing = {"nearest_dropped": near, "cited_dropped": cited}
    found = {name: [label for label in labels if label not in kept] for name, labels in missing.items()}
    return {"leaned": any(found.values()), **found}


def _labelled(result: Result) -> Iterator[tuple[str, Span]]:
    for number, document in enumerate(result.documents, 1):
        yield from ((f"{number}.{place}", span) for place, span in enumerate(document.spans, 1))


def _whole(document: PrunedDocument) -> PrunedDocument:
    spans = tuple(span if span.kept else replace(span, kept=True, reason="original") for span in document.spans)
    return replace(document, spans=spans, n_tokens_after=document.n_tokens_before)
