"""A server in this process, and a labeler that waits, fails or passes on as it is asked to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import httpx2

from contextpruner import ContextPruner, DocumentCache, Labels, SplitDocument
from contextpruner.documents.cache import Encoded
from contextpruner.integrations.server.app import create_app
from contextpruner.integrations.server.service import Service
from contextpruner.integrations.server.settings import ServerSettings
from contextpruner.labelers.bm25 import Bm25

KEPT = "The dome was engineered by Brunelleschi. "
TEXT = f"{KEPT}It rains in May."
QUESTION = "Who engineered the dome?"
BODY: dict[str, object] = {"question": QUESTION, "documents": [TEXT]}
HOLD, POISON = "hold the dome", "poison in the dome"
released = threading.Event()


@dataclass(frozen=True)
class Moody(Bm25):
    """Bm25 that waits for `released` when asked `HOLD` and raises when asked `POISON`."""

    def label_encoded(
        self, questions: Sequence[str], documents: Sequence[SplitDocument], encoded: Sequence[Encoded]
    ) -> list[Labels]:
        if HOLD in questions:
            assert released.wait(30)
        if POISON in questions:
            raise RuntimeError(f"it went wrong at {documents[0].document.text}")
        return super().label_encoded(questions, documents, encoded)


@contextlib.asynccontextmanager
async def serving(
    pruner: ContextPruner | None = None, settings: ServerSettings | None = None
) -> AsyncIterator[tuple[httpx2.AsyncClient, Service]]:
    """A client of a server, and what stands behind its routes."""
    app = create_app(pruner or ContextPruner("bm25", cache=DocumentCache()), settings)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://server", timeout=60) as client,
    ):
        yield client, app.state.service


async def posted(client: httpx2.AsyncClient, body: object, path: str = "/v1/prune") -> httpx2.Response:
    """The answer to `body` as JSON."""
    return await client.post(path, json=body)
