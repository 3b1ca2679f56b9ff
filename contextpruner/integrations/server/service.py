"""What the routes share: what is asked is checked, pruned in company, counted, and in shadow mode given whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from fastapi import Request, Response

from contextpruner.decisions.rules import Policy
from contextpruner.documents.document import Given, check_text, read_documents
from contextpruner.integrations.remembered import Remembered
from contextpruner.integrations.server.batching import Asked, Batcher
from contextpruner.integrations.server.json_log import log
from contextpruner.integrations.server.metrics import Metrics
from contextpruner.integrations.server.refusals import RefusedError
from contextpruner.integrations.server.settings import ServerSettings
from contextpruner.integrations.server.shadow import NEAREST, documents_of, dropped, leaning, unpruned
from contextpruner.pruner import ContextPruner
from contextpruner.results.result import Result


class Service:
    """A pruner behind a queue, with the settings and numbers of its server."""

    def __init__(self, pruner: ContextPruner, settings: ServerSettings) -> None:
        self.pruner, self.settings, self.metrics = pruner, settings, Metrics()
        self.batcher = Batcher(pruner, settings.max_queue, settings.max_batch, self.metrics.batch)
        self.shadowed = Remembered()
        self.metrics.watch("queue_requests", "Requests that wait.", lambda: self.batcher.n_waiting)

    async def prune(
        self, request: Request, question: str, documents: Sequence[Given], rules: Mapping[str, object]
    ) -> Result:
        """The result that the request is answered with; raises RefusedError with the reason."""
        if len(documents) > self.settings.max_documents:
            raise RefusedError(413, f"want at most {self.settings.max_documents} documents, got {len(documents)}")
        with bad_input_refused():
            policy = self.settings.policy_for(rules)
            result = await self._pruned(question, documents, policy)
        self.metrics.pruned(result)
        request_id = request.state.request_id
        tokens = {"n_tokens_before": result.n_tokens_before, "n_tokens_after": result.n_tokens_after}
        ms = round(result.labelling_ms, 2)
        log("pruned", id=request_id, n_documents=len(documents), **tokens, labelling_ms=ms)
        if not self.settings.shadow:
            return result
        self.shadowed.put(request_id, result)
        log("shadow", id=request_id, **tokens, documents=dropped(result))
        return unpruned(result)

    async def judge(self, request_id: str, answer: str) -> dict[str, object]:
        """Whether a reader's answer leaned on what would have been dropped; raises RefusedError for an unknown id."""
        result = self.shadowed.get(request_id)
        if result is None:
            raise RefusedError(422, f"want the id of one of the last {self.shadowed.most} requests, got another")
        with bad_input_refused():
            nearest = await self._pruned(answer, documents_of(result), NEAREST)
        found = leaning(result, nearest, answer)
        log("shadow_answer", id=request_id, **found)
        return found

    async def _pruned(self, question: str, documents: Sequence[Given], policy: Policy) -> Result:
        if not check_text("the question", question).strip():
            raise ValueError("want a question, got an empty text")
        return await self.batcher.prune(Asked(question, read_documents(documents), policy))


@contextmanager
def bad_input_refused() -> Iterator[None]:
    """What a pruner does not take is a request that is refused, with its reason."""
    try:
        yield
    except ValueError as error:
        raise RefusedError(422, str(error)) from error


def respond(payload: object, result: Result | None = None) -> Response:
    """`payload` as JSON: the same bytes for the same payload; the time of `result` stands in a header.

    Raises RefusedError for what JSON or UTF-8 cannot hold, say an id with half of a surrogate pair.
    """
    try:
        body = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            422, f"want ids, titles and metadata that JSON in UTF-8 can hold: {type(error).__name__}"
        ) from error
    headers = {} if result is None else {"Server-Timing": f"labelling;dur={result.labelling_ms:.2f}"}
    return Response(body, media_type="application/json", headers=headers)
