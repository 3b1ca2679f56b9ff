"""The server as it is started: slow clients, what is too large, and an end that finishes what was accepted."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from contextpruner import ContextPruner
from contextpruner.integrations.client import PruneClient, RequestRefusedError
from tests.contextpruner.integrations.served import KEPT, QUESTION, TEXT
from tests.contextpruner.integrations.started_server import started_server

BODY = json.dumps({"question": QUESTION, "documents": [TEXT]}).encode()
LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that wants a key, and its port."""
    with started_server(tmp_path_factory.mktemp("keys"), "--max-body", str(LIMIT)) as started:
        yield started


def connected(port: int, body: bytes, n_sent: int) -> socket.socket:
    """A connection on which the head of a request and the first bytes of its body were sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = f"POST /v1/prune HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}Authorization: Bearer a-key\r\n\r\n".encode() + body[:n_sent])
    return connection


def answered(connection: socket.socket) -> bytes:
    with connection:
        received = b""
        while b"\r\n\r\n" not in received or b'"detail"' not in received and b'"documents"' not in received:
            chunk = connection.recv(65536)
            if not chunk:
                break
            received += chunk
        return received


def test_slow_clients_block_nobody(server: tuple[subprocess.Popen[str], int]) -> None:
    port = server[1]
    slow = [connected(port, BODY, 10) for _ in range(50)]
    client = PruneClient(f"http://127.0.0.1:{port}", api_key="a-key", timeout=60)
    result = client.prune(QUESTION, [{"text": TEXT, "id": "a", "metadata": {"url": "x"}}], top_k=1)
    direct = ContextPruner("bm25").prune(QUESTION, [{"text": TEXT, "id": "a", "metadata": {"url": "x"}}], top_k=1)
    assert result == json.loads(json.dumps({k: v for k, v in direct.to_dict().items() if k != "labelling_ms"}))
    assert client.rerank(QUESTION, ["Bees.", TEXT])[0] == {
        "index": 1, "score": pytest.approx(0.8, abs=0.2), "pruned_text": KEPT
    }  # fmt: skip
    slow[0].sendall(BODY[10:])
    assert answered(slow[0]).startswith(b"HTTP/1.1 200")
    for connection in slow[1:]:
        connection.close()


def test_a_refusal_reaches_the_client(server: tuple[subprocess.Popen[str], int]) -> None:
    client = PruneClient(f"http://127.0.0.1:{server[1]}", api_key="a-key")
    for length in (2 * LIMIT, 20 * LIMIT):
        try:
            with pytest.raises(RequestRefusedError, match="want a body of at most 100000 bytes") as refused:
                client.prune(QUESTION, ["b" * length])
            assert refused.value.status == 413
        except ConnectionError:
            # far beyond the limit the server may hang up while the client still sends
            assert length > 4 * LIMIT
    with pytest.raises(RequestRefusedError, match="API key"):
        PruneClient(client.url, api_key="another").prune(QUESTION, [TEXT])
    with pytest.raises(RequestRefusedError, match="want a question"):
        client.prune(" ", [TEXT])


def test_a_stopping_server_finishes_what_it_accepted(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server
    connection = connected(port, BODY, 10)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the server still takes connections")
    connection.sendall(BODY[10:])
    answer = answered(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert KEPT.encode() in answer
    assert process.wait(60) in (0, -signal.SIGTERM)
