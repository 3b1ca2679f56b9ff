"""Requests that are refused: a status, the reason in one line, and when to come again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from prunekernels.io.escape import one_line

# what a status means here; each is a `Problem`
STATUSES = {
    401: "no API key, or none that is known",
    408: "the body did not come in time",
    413: "the body, or the number of documents, is over the limit",
    422: "the request is malformed, or asks for what cannot be done",
    429: "too many requests are waiting; see Retry-After",
    503: "the server is shutting down, or short of memory; see Retry-After",
}


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="The reason, in one line.")


class RefusedError(Exception):
    """A request that gets no answer but a reason."""

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after


def problem(refused: RefusedError) -> JSONResponse:
    """The response of a refusal."""
    headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"detail": one_line(refused.reason)}, refused.status, headers)


def reason_of(errors: Sequence[Mapping[str, object]]) -> str:
    """The most exact of pydantic's errors, without what was given: that may be long, or no text that can be sent."""
    places, error = max(((_places(error), error) for error in errors), key=lambda row: len(row[0]))
    return f"{'.'.join(places) or 'body'}: {error.get('msg')}"


def _places(error: Mapping[str, object]) -> list[str]:
    location = error.get("loc", ())
    return [str(place) for place in location if place != "body"] if isinstance(location, Sequence) else []
