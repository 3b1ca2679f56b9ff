"""LangChain: a document compressor that prunes what a retriever found.

    from contextpruner import ContextPruner, Policy
    from contextpruner.integrations.langchain import ContextCompressor
    compressor = ContextCompressor(pruner=ContextPruner("bm25"), policy=Policy(max_tokens=300))
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=retriever)

Documents are copies with their ids, their metadata and two keys more: `relevance_score`, the labeler's score of the
document, and `contextpruner` with the kept spans.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from contextpruner.decisions.rules import Policy
from contextpruner.integrations._pruned import noted, pruned
from contextpruner.pruner import ContextPruner
from prunekernels.extras import require

require("langchain_core.documents", "rag")
from langchain_core.callbacks import Callbacks  # noqa: E402
from langchain_core.documents import BaseDocumentCompressor, Document  # noqa: E402
from pydantic import ConfigDict  # noqa: E402


class ContextCompressor(BaseDocumentCompressor):
    """Prunes documents for the query, by `policy` or the labeler's own threshold.

    A document of which nothing is kept is left out, unless `keep_empty`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    pruner: ContextPruner
    policy: Policy | None = None
    keep_empty: bool = False

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The documents with what the query needs; raises ValueError as `ContextPruner.prune` does."""
        texts = [(document.page_content, document.metadata) for document in documents]
        found = pruned(self.pruner, query, texts, self.policy, self.keep_empty)
        rows = [(documents[one.place], one.document) for one in found]
        return [
            document.model_copy()
            if made is None
            else document.model_copy(
                update={
                    "page_content": made.text,
                    "metadata": noted(document.metadata, made) | {"relevance_score": made.score},
                }
            )
            for document, made in rows
        ]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """As `compress_documents`, in a thread, so that several run at once."""
        return await asyncio.to_thread(self.compress_documents, documents, query, callbacks)
