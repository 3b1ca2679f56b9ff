"""What every request passes first: its id, its key, its body within limits; and last, its line in the log.

A body is read whole before anything is done with it, so that a slow client holds a connection and nothing else. What is
too large is read on and thrown away up to `DRAINED` times the limit: a client that is still sending does not see the
answer. An exception that nobody expected is a 500 for its own request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
import uuid
from dataclasses import dataclass

from fastapi import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contextpruner.integrations.server.json_log import log, log_error
from contextpruner.integrations.server.metrics import Metrics
from contextpruner.integrations.server.page_frame import refused_page
from contextpruner.integrations.server.refusals import RefusedError, problem
from contextpruner.integrations.server.settings import ServerSettings

# the page asks for the key in its form
OPEN = {("GET", "/"), ("HEAD", "/"), ("POST", "/"), ("GET", "/health"), ("HEAD", "/health")}
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
DRAINED = 4
GONE = 499


@dataclass
class _Request:
    """What is known of a request while it is here."""

    id: str
    started: float
    held: int = 0
    status: int = 0


class _GoneError(Exception):
    """The client left before its body had come."""


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request = _Request(given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex, time.perf_counter())
        scope.setdefault("state", {})["request_id"] = request.id

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request.id
            await send(message)

        try:
            await self._answered(scope, headers, receive, sent, request)
        finally:
            self.held -= request.held
            self._note(scope, request)

    async def _answered(self, scope: Scope, headers: Headers, receive: Receive, send: Send, request: _Request) -> None:
        try:
            if (scope["method"], scope["path"]) not in OPEN and not is_known(headers, self.settings.api_keys):
                raise RefusedError(401, "want an API key in the header Authorization: Bearer KEY")
            if scope["method"] in ("POST", "PUT", "PATCH"):
                receive = _replayed(await self._body(headers, receive, request), receive)
            await self.app(scope, receive, send)
        except RefusedError as refused:
            await _answer(scope, refused)(scope, receive, send)
        except _GoneError:
            request.status = GONE
        except Exception as error:  # noqa: BLE001 - whatever it is, others go on
            log_error("failed", error, id=request.id)
            if not request.status:
                unexpected = RefusedError(500, f"an error of the server; its log has it as {request.id}")
                await _answer(scope, unexpected)(scope, receive, send)

    async def _body(self, headers: Headers, receive: Receive, request: _Request) -> bytes:
        most = self.settings.max_body_bytes
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > DRAINED * most:
            raise RefusedError(413, f"want a body of at most {most} bytes, got {declared[:20]}")
        chunks: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                while more and size <= DRAINED * most:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    size += len(chunk)
                    if size <= most:
                        self._hold(len(chunk), request)
                        chunks.append(chunk)
        except TimeoutError:
            raise RefusedError(408, f"the body did not come within {self.settings.body_seconds:g} seconds") from None
        if size > most:
            raise RefusedError(413, f"want a body of at most {most} bytes, got {'more than ' if more else ''}{size}")
        return b"".join(chunks)

    def _hold(self, n_bytes: int, request: _Request) -> None:
        if self.held + n_bytes > self.settings.max_held_bytes:
            raise RefusedError(503, "the bodies of other requests take all the memory that is given to them", 1)
        self.held += n_bytes
        request.held += n_bytes

    def _note(self, scope: Scope, request: _Request) -> None:
        route = getattr(scope.get("route"), "path", "other")
        seconds = time.perf_counter() - request.started
        self.metrics.request(route, request.status, seconds)
        ms = round(1000 * seconds, 2)
        log("request", id=request.id, method=scope["method"], route=route, status=request.status, ms=ms)


def _answer(scope: Scope, refused: RefusedError) -> Response:
    """A refusal: of the form of the page, which a person sent, as a page too."""
    return refused_page(refused) if scope["path"] == "/" else problem(refused)


def is_known(headers: Headers, keys: tuple[str, ...]) -> bool:
    """Whether a request carries one of `keys`, or none is wanted."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return is_key(key.strip() if scheme.lower() == "bearer" else "", keys)


def is_key(given: str, keys: tuple[str, ...]) -> bool:
    """Whether `given` is one of `keys`, or none is wanted; the time tells nothing of them, not even their length."""
    digest = hashlib.sha256(given.encode(errors="replace")).digest()
    known = [hmac.compare_digest(digest, hashlib.sha256(key.encode()).digest()) for key in keys]
    return not keys or any(known)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives `body` as one message, then what `receive` gives."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
