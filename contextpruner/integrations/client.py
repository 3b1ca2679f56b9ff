"""A client of `contextpruner serve`, out of the standard library alone.

    client = PruneClient("http://127.0.0.1:8000")
    answer = client.prune("Who designed the dome?", documents, max_tokens=300)

What the server puts off (429, 503) is asked again when it says, `retries` times.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from contextpruner.documents.document import Given, read_documents

PUT_OFF = (429, 503)
# a server may say more
LONGEST_WAIT = 60.0


class RequestRefusedError(ValueError):
    """The server answered with an error: its `status` and its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{reason} (status {status})")
        self.status = status


@dataclass(frozen=True)
class PruneClient:
    """A server's address, and what each request takes with it; threads may share one.

    Raises ValueError for an address that is none of http or https, ConnectionError and TimeoutError of the network, and
    RequestRefusedError.
    """

    url: str = "http://127.0.0.1:8000"
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 60.0
    retries: int = 2

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"want an address of http or https, got {self.url!r}")

    def prune(self, question: str, documents: Iterable[Given], **rules: object) -> dict[str, object]:
        """The answer of `/v1/prune`, in the form of `Result.to_dict()`; `rules` are the fields of a `Policy`."""
        given = [
            {"text": one.text, "id": one.id, "title": one.title, "format": one.format, "protected": one.protected}
            | {"metadata": dict(one.metadata)}
            for one in read_documents(documents)
        ]
        payload = {"question": question, "documents": given, **rules}
        return self._post("/v1/prune", payload)  # type: ignore[return-value]

    def rerank(self, question: str, texts: Iterable[str], **rules: object) -> list[dict[str, object]]:
        """The answer of `/rerank`: `index`, `score` and `pruned_text` of each text, best first."""
        return self._post("/rerank", {"query": question, "texts": list(texts), **rules})  # type: ignore[return-value]

    def _post(self, path: str, payload: Mapping[str, object]) -> object:
        body = json.dumps(payload, allow_nan=False).encode()
        for left in range(self.retries, -1, -1):
            status, wait, answer = self._sent(path, body)
            if status == 200:
                return json.loads(answer)
            if status not in PUT_OFF or not left:
                break
            time.sleep(wait)
        raise RequestRefusedError(status, _reason(answer))

    def _sent(self, path: str, body: bytes) -> tuple[int, float, bytes]:
        """The status, the seconds to wait before another try, and the body of an answer."""
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=self.timeout)
        headers = {"Content-Type": "application/json"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        try:
            connection.request("POST", parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            after = response.headers.get("Retry-After", "1")
            wait = float(after) if after.isdecimal() else 1.0
            return response.status, min(wait, LONGEST_WAIT), response.read()
        finally:
            connection.close()


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["detail"])
    except (ValueError, KeyError, TypeError):
        return answer[:200].decode(errors="replace")
