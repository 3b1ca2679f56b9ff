"""Reranking as clients of others speak it: text-embeddings-inference, Cohere (v2) and Jina (also vLLM, Infinity).

Each takes the rules of `/v1/prune` beside its own fields, and gives with each document what is kept of it, as
`pruned_text`. Documents are read whole and a score is the labeler's own, so that `truncate`, `max_tokens_per_doc` and
`raw_scores` are taken and change nothing. Best first, ties in the order given.
"""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from contextpruner.documents.cache import key_of
from contextpruner.integrations._pruned import ranked
from contextpruner.integrations.server.forms import Count, GivenRules
from contextpruner.integrations.server.service import Service, respond
from contextpruner.results.result import PrunedDocument

TopN = Annotated[Count | None, Field(description="so many results at most")]


class TextDocument(BaseModel):
    """A document as an object."""

    text: str


class TeiRequest(GivenRules):
    """A request of text-embeddings-inference."""

    query: str
    texts: list[str]
    return_text: bool = False
    raw_scores: bool = Field(False, description="changes nothing")
    truncate: bool | None = Field(None, description="changes nothing")


class CohereRequest(GivenRules):
    """A request of Cohere's second version."""

    query: str
    documents: list[str | TextDocument]
    model: str | None = None
    top_n: TopN = None
    max_tokens_per_doc: Count | None = Field(None, description="changes nothing")


class JinaRequest(GivenRules):
    """A request of Jina, vLLM and others."""

    query: str
    documents: list[str | TextDocument]
    model: str | None = None
    top_n: TopN = None
    return_documents: bool = True


class TeiRank(BaseModel):
    """A text's place, its score and what is kept of it."""

    index: int
    score: float
    text: str | None = None
    pruned_text: str


class CohereRank(BaseModel):
    """A document's place, its score and what is kept of it."""

    index: int
    relevance_score: float
    pruned_text: str


class CohereAnswer(BaseModel):
    """The documents, best first."""

    id: str
    results: list[CohereRank]
    meta: dict[str, dict[str, str | int]]


class JinaRank(CohereRank):
    """With the document where it is asked for."""

    document: TextDocument | None = None


class JinaAnswer(BaseModel):
    """The documents, best first."""

    model: str
    usage: dict[str, int]
    results: list[JinaRank]


def rerank_routes(service: Service) -> APIRouter:
    """The three routes."""
    router = APIRouter()

    @router.post("/rerank", responses={200: {"model": list[TeiRank]}})
    async def tei(request: Request, asked: TeiRequest) -> Response:
        """Rerank as text-embeddings-inference does."""
        result = await service.prune(request, asked.query, asked.texts, asked.policy_fields())
        rows = [{"index": index, "score": one.score} | _texts(one, asked.return_text) for index, one in ranked(result)]
        return respond(rows, result)

    @router.post("/v2/rerank", responses={200: {"model": CohereAnswer}})
    async def cohere(request: Request, asked: CohereRequest) -> Response:
        """Rerank as Cohere does."""
        result = await service.prune(request, asked.query, _mappings(asked.documents), asked.policy_fields())
        rows = [
            {"index": index, "relevance_score": one.score, "pruned_text": one.text}
            for index, one in ranked(result)[: asked.top_n]
        ]
        # the same documents give the same bytes, so the id is none of chance
        texts = (document.original for document in result.documents)
        name = uuid.UUID(key_of([asked.query, *texts])[:32])
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        return respond({"id": str(name), "results": rows, "meta": meta}, result)

    @router.post("/v1/rerank", responses={200: {"model": JinaAnswer}})
    async def jina(request: Request, asked: JinaRequest) -> Response:
        """Rerank as Jina, vLLM and Infinity do."""
        result = await service.prune(request, asked.query, _mappings(asked.documents), asked.policy_fields())
        rows = [
            {"index": index, "relevance_score": one.score, "pruned_text": one.text}
            | ({"document": {"text": one.original}} if asked.return_documents else {})
            for index, one in ranked(result)[: asked.top_n]
        ]
        model = asked.model or result.labeler.partition(":")[0]
        return respond({"model": model, "usage": {"total_tokens": result.n_tokens_before}, "results": rows}, result)

    return router


def _mappings(documents: list[str | TextDocument]) -> list[str | dict[str, object]]:
    return [one if isinstance(one, str) else {"text": one.text} for one in documents]


def _texts(document: PrunedDocument, return_text: bool) -> dict[str, str]:
    return ({"text": document.original} if return_text else {}) | {"pruned_text": document.text}
