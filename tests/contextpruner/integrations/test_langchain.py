"""LangChain's documents through the compressor, alone and behind one of its retrievers."""

from __future__ import annotations

import asyncio
import copy

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from contextpruner import ContextPruner, Policy
from contextpruner.integrations.langchain import ContextCompressor
from tests.contextpruner.integrations.passages import N_CALLS, PASSAGES, Meeting, check_note
from tests.contextpruner.integrations.served import KEPT, QUESTION

DOCUMENTS = [Document(id=key, page_content=text, metadata=metadata) for key, text, metadata in PASSAGES]


@pytest.mark.parametrize("keep_empty", [False, True])
def test_documents_come_back_pruned_with_ids_and_metadata(keep_empty: bool) -> None:
    given = copy.deepcopy(DOCUMENTS)
    pruner = ContextPruner("bm25")
    compressor: BaseDocumentCompressor = ContextCompressor(pruner=pruner, keep_empty=keep_empty)
    found = compressor.compress_documents(given, QUESTION)
    assert given == DOCUMENTS
    assert [document.id for document in found] == ["a", "b", "c"][: 2 + keep_empty]
    assert [document.page_content for document in found] == [KEPT, KEPT, ""][: 2 + keep_empty]
    direct = pruner.prune(QUESTION, [{"text": text, "metadata": metadata} for _, text, metadata in PASSAGES])
    for document, (_, text, metadata), wanted in zip(found, PASSAGES, direct.documents, strict=False):
        assert metadata.items() <= document.metadata.items()
        assert document.metadata["relevance_score"] == wanted.score
        if document.page_content:
            check_note(document.metadata, text, KEPT)
    assert compressor.compress_documents([], QUESTION) == []


def test_best_first_and_an_empty_text_goes_on() -> None:
    given = [Document(id="empty", page_content=" "), *DOCUMENTS[::-1]]
    policy = Policy(top_k=1, reorder=True)
    found = ContextCompressor(pruner=ContextPruner("bm25"), policy=policy).compress_documents(given, QUESTION)
    assert [document.id for document in found][1:] == ["empty"]
    assert found[1] == given[0]


def test_async_calls_run_at_once() -> None:
    compressor = ContextCompressor(pruner=ContextPruner(Meeting()))

    async def run() -> list[list[Document]]:
        calls = (compressor.acompress_documents(DOCUMENTS, QUESTION) for _ in range(N_CALLS))
        return await asyncio.gather(*calls)

    alone = ContextCompressor(pruner=ContextPruner("bm25")).compress_documents(DOCUMENTS, QUESTION)
    assert asyncio.run(run()) == [alone] * N_CALLS


def test_behind_a_retriever() -> None:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents(DOCUMENTS)
    compressor = ContextCompressor(pruner=ContextPruner("bm25"))
    compress = RunnableLambda(lambda given: compressor.compress_documents(given["documents"], given["query"]))
    chain = {"documents": store.as_retriever(search_kwargs={"k": 3}), "query": RunnablePassthrough()} | compress
    found = chain.invoke(QUESTION)
    assert {document.id for document in found} == {"a", "b"}
    # what the store holds is as it was
    assert {document.page_content for document in store.similarity_search("x", k=3)} == {
        text for _, text, _ in PASSAGES
    }
