"""Corpora behind HTTP: read as files are, and every trouble of a server is one line that names the URL."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from datapruner import Source

LINES = b"".join(json.dumps({"text": f"row {number}"}).encode() + b"\n" for number in range(50))


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        name = self.path.strip("/").partition(".")[0]
        if name == "redirect":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        self.send_response({"failing": 500, "missing": 404}.get(name, 200))
        # of a broken body less comes than was promised
        self.send_header("Content-Length", str(len(LINES) * (2 if name == "broken" else 1)))
        self.end_headers()
        if with_body:
            self.wfile.write(LINES)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("aiohttp")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def _texts(url: str) -> list[str]:
    return [text for chunk in Source(url).chunks() for text in chunk.texts]


def test_reads_a_file(server: str) -> None:
    assert _texts(f"{server}/corpus.jsonl") == [f"row {number}" for number in range(50)]


@pytest.mark.parametrize("name", ["failing", "missing", "broken", "redirect"])
def test_trouble_is_one_line_with_the_url(server: str, name: str) -> None:
    with pytest.raises(OSError, match=f"{server}/{name}.jsonl") as raised:
        _texts(f"{server}/{name}.jsonl")
    assert "\n" not in str(raised.value)
    assert "root:" not in str(raised.value)


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    for protocol in ("http", "https"):
        monkeypatch.delitem(sys.modules[fsspec.get_filesystem_class.__module__]._registry, protocol, raising=False)
    with pytest.raises(ImportError, match=r'pip install "prunekit\[http\]"'):
        _texts("http://127.0.0.1:9/c.jsonl")
