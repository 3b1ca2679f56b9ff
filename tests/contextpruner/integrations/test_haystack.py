"""Haystack's documents through the component, alone and in one of its pipelines, also one that was written and read."""

from __future__ import annotations

import asyncio
import copy

import pytest
from haystack import Document, Pipeline
from haystack.components.builders import PromptBuilder
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore

from contextpruner import ContextPruner
from contextpruner.integrations.haystack import DocumentPruner
from tests.contextpruner.integrations.passages import N_CALLS, PASSAGES, Meeting, check_note
from tests.contextpruner.integrations.served import KEPT, QUESTION

DOCUMENTS = [Document(id=key, content=text, meta=metadata) for key, text, metadata in PASSAGES]
PICTURE = Document(id="picture", blob=ByteStream(b"x"))


@pytest.mark.parametrize("keep_empty", [False, True])
def test_documents_come_back_pruned_with_ids_and_meta(keep_empty: bool) -> None:
    given = copy.deepcopy([*DOCUMENTS, PICTURE])
    pruner = DocumentPruner("bm25", keep_empty=keep_empty)
    pruner.warm_up()
    found = pruner.run(QUESTION, given)["documents"]
    assert given == [*DOCUMENTS, PICTURE]
    assert [document.id for document in found] == ["a", "b", *["c"] * keep_empty, "picture"]
    assert [document.content for document in found] == [KEPT, KEPT, *[""] * keep_empty, None]
    for document, (_, text, metadata) in zip(found[:2], PASSAGES, strict=False):
        assert metadata.items() <= document.meta.items()
        check_note(document.meta, text, KEPT)
        assert document.score is not None
        assert document.score > 0.5
    assert pruner.run(QUESTION, []) == {"documents": []}
    assert len(pruner.run(QUESTION, DOCUMENTS, top_k=1)["documents"]) == 1 + keep_empty * 2
    assert len(pruner.run(QUESTION, DOCUMENTS, max_tokens=0)["documents"]) == keep_empty * 3


def test_async_calls_run_at_once() -> None:
    component = DocumentPruner("bm25")
    component.pruner = ContextPruner(Meeting())

    async def run() -> list[dict[str, list[Document]]]:
        return await asyncio.gather(*(component.run_async(QUESTION, DOCUMENTS) for _ in range(N_CALLS)))

    assert asyncio.run(run()) == [DocumentPruner("bm25").run(QUESTION, DOCUMENTS)] * N_CALLS


def test_in_a_pipeline_that_was_written_and_read() -> None:
    store = InMemoryDocumentStore()
    store.write_documents(DOCUMENTS)
    pipeline = Pipeline()
    pipeline.add_component("pruner", DocumentPruner("bm25", rules={"threshold": 0.3, "neighbours": (0, 0)}))
    pipeline.add_component("prompt", PromptBuilder("{% for d in documents %}{{ d.content }}{% endfor %}|{{ query }}"))
    pipeline.connect("pruner.documents", "prompt.documents")
    read = Pipeline.loads(pipeline.dumps(), allowed_modules=["contextpruner.integrations.haystack"])
    read.add_component("retriever", InMemoryBM25Retriever(store, top_k=2))
    read.connect("retriever.documents", "pruner.documents")
    inputs = {"retriever": {"query": QUESTION}, "pruner": {"query": QUESTION}, "prompt": {"query": QUESTION}}
    assert read.run(inputs)["prompt"]["prompt"] == f"{KEPT}{KEPT}|{QUESTION}"
    assert read.get_component("pruner").policy.neighbours == (0, 0)


def test_rules_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="treshold"):
        DocumentPruner("bm25", rules={"treshold": 0.5})
    with pytest.raises(ValueError, match="threshold wants"):
        DocumentPruner("bm25", rules={"threshold": 2})
