"""Requests of many clients, labelled together.

One thread prunes. While it works on a batch, what comes in waits; then the next batch is what waits, up to `max_batch`
requests and about `CHARACTERS` of text. So a lone request never waits for company, and under load batches grow by
themselves. Each request has its own policy. Where a batch fails, its halves are tried, down to the request that fails
alone: only that one gets the error.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from contextpruner.decisions.labeling_many import CHARACTERS
from contextpruner.decisions.rules import Policy
from contextpruner.documents.document import Document
from contextpruner.integrations.server.refusals import RefusedError
from contextpruner.pruner import ContextPruner
from contextpruner.results.result import Result

# bounds of Retry-After in seconds, and the weight of the newest batch in the mean time of a request
SOONEST, LATEST, NEWEST = 1, 60, 0.2

Batched = Callable[[int], None]


@dataclass(frozen=True)
class Asked:
    """A question with its documents, read and checked, and its rules."""

    question: str
    documents: Sequence[Document]
    policy: Policy

    @property
    def n_characters(self) -> int:
        return sum(len(document.text) for document in self.documents)


class Batcher:
    """A queue before one pruner; `batched` is told the size of each batch."""

    def __init__(self, pruner: ContextPruner, max_queue: int, max_batch: int, batched: Batched) -> None:
        self.pruner, self.max_queue, self.max_batch, self.batched = pruner, max_queue, max_batch, batched
        self.is_open = False
        self.seconds_each = 0.0
        self._waiting: deque[tuple[Asked, asyncio.Future[Result]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    async def prune(self, asked: Asked) -> Result:
        """The result of `asked`; raises what `ContextPruner.prune` raises, and RefusedError where the queue is full."""
        if not self.is_open:
            raise RefusedError(503, "the server is shutting down", SOONEST)
        if len(self._waiting) >= self.max_queue:
            wait = math.ceil(self.seconds_each * len(self._waiting))
            raise RefusedError(429, f"{self.max_queue} requests are waiting already", min(max(wait, SOONEST), LATEST))
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    def open(self) -> None:
        """Accept requests, until `close`."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prune")
        self.is_open = True

    async def close(self) -> None:
        """Accept nothing more, finish what was accepted."""
        self.is_open = False
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        while self._waiting:
            batch = self._next()
            if not batch:
                continue
            self.batched(len(batch))
            started = time.perf_counter()
            asked = [one for one, _ in batch]
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._answers, asked)
            each = (time.perf_counter() - started) / len(batch)
            self.seconds_each += (each - self.seconds_each) * (NEWEST if self.seconds_each else 1)
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _next(self) -> list[tuple[Asked, asyncio.Future[Result]]]:
        """The next batch; requests that nobody waits for any more are left out."""
        batch: list[tuple[Asked, asyncio.Future[Result]]] = []
        size = 0
        while self._waiting and len(batch) < self.max_batch:
            asked, future = self._waiting[0]
            if batch and size + asked.n_characters > CHARACTERS:
                break
            self._waiting.popleft()
            if not future.done():
                batch.append((asked, future))
                size += asked.n_characters
        return batch

    def _answers(self, asked: Sequence[Asked]) -> list[Result | Exception]:
        try:
            if len(asked) == 1:
                return [self.pruner.prune(asked[0].question, asked[0].documents, asked[0].policy)]
            questions, lists, policies = zip(*((one.question, one.documents, one.policy) for one in asked), strict=True)
            return [*self.pruner.prune_many(questions, lists, policies)]
        except Exception as error:  # noqa: BLE001 - it is the answer of one request, and no concern of the others
            if len(asked) == 1:
                return [error]
            half = len(asked) // 2
            return [*self._answers(asked[:half]), *self._answers(asked[half:])]
