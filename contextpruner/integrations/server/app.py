"""The application: routes, and what holds for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import JsonValue

from contextpruner.decisions.rules import Policy
from contextpruner.integrations.server.dialects import rerank_routes
from contextpruner.integrations.server.forms import PruneAnswer, PruneRequest, ShadowedAnswer
from contextpruner.integrations.server.gate import Gate
from contextpruner.integrations.server.page import page_routes
from contextpruner.integrations.server.refusals import STATUSES, Problem, RefusedError, problem, reason_of
from contextpruner.integrations.server.service import Service, respond
from contextpruner.integrations.server.settings import ServerSettings
from contextpruner.pruner import ContextPruner
from prunekernels import __version__

PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": text} for status, text in STATUSES.items()
}


def create_app(pruner: ContextPruner, settings: ServerSettings | None = None) -> FastAPI:
    """An ASGI application around `pruner`, which it alone should use; a model is loaded when it starts."""
    service = Service(pruner, settings or ServerSettings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # what loads at its first use, a model or stemmers, is there before the first request
        pruner.prune("Is it warm?", ["It is warm."], Policy(top_k=1))
        service.batcher.open()
        yield
        await service.batcher.close()

    app = FastAPI(
        title="contextpruner",
        version=__version__,
        lifespan=lifespan,
        # these pages would fetch scripts from elsewhere
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
    )
    app.state.service = service
    app.add_middleware(Gate, settings=service.settings, metrics=service.metrics)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.include_router(page_routes(service))
    app.include_router(rerank_routes(service))
    _add_routes(app, service)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.post("/v1/prune", responses={200: {"model": PruneAnswer}})
    async def prune(request: Request, asked: PruneRequest) -> Response:
        """Keep what the question needs of the documents."""
        documents = [one if isinstance(one, str) else one.model_dump() for one in asked.documents]
        result = await service.prune(request, asked.question, documents, asked.policy_fields())
        return respond({key: value for key, value in result.to_dict().items() if key != "labelling_ms"}, result)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether requests are taken."""
        if not service.batcher.is_open:
            raise RefusedError(503, "the server is shutting down", 1)
        return {"status": "ok", "labeler": type(service.pruner.labeler).__name__}

    @app.get("/metrics", responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}})
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    if service.settings.shadow:

        @app.post("/v1/shadow/answers")
        async def shadow_answer(asked: ShadowedAnswer) -> dict[str, JsonValue]:
            """Say what a reader answered: did it lean on what would have been dropped?"""
            return await service.judge(asked.id, asked.answer)  # type: ignore[return-value]


async def _refused(_: Request, refused: RefusedError) -> Response:
    return problem(refused)


async def _malformed(_: Request, error: RequestValidationError) -> Response:
    return problem(RefusedError(422, reason_of(error.errors())))
