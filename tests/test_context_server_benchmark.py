"""The benchmark of the context server, over a server in this process."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from benchmarks.context_server import DOCUMENTS, Asked, check, requests_a_batch, requests_of, row, under_load
from contextpruner import ContextPruner
from contextpruner.documents.document import Document
from contextpruner.integrations.client import PruneClient, RequestRefusedError
from contextpruner.integrations.server.app import create_app
from contextpruner.training.examples.example import TrainingExample

ASKED = [
    Asked(f"Who built tower {number}?", (f"Tower {number} was built by Arnolfo. It rains.", f"Bees. {number}."))
    for number in range(20)
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(ContextPruner("bm25")), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 30
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_every_request_is_answered_once_as_a_direct_call_does(url: str) -> None:
    answered, seconds = under_load(PruneClient(url), ASKED, 4, 60)
    assert [one.asked for one in answered] == ASKED
    check(answered, ContextPruner("bm25"))
    size = requests_a_batch(url)
    assert 1 <= size <= 4
    assert all(0 < one.milliseconds <= 1000 * seconds for one in answered)
    # another's answer is no answer
    swapped = [dataclasses.replace(answered[0], answer=answered[1].answer)]
    with pytest.raises(SystemExit, match="otherwise"):
        check(swapped, ContextPruner("bm25"))
    with pytest.raises(RequestRefusedError):
        under_load(PruneClient(url), [*ASKED[:3], Asked(" ", ("a",))], 2, 60)


def test_no_request_is_sent_when_the_time_is_over(url: str) -> None:
    assert under_load(PruneClient(url), ASKED, 2, 0)[0] == []


def test_a_row_holds_what_clients_saw(url: str) -> None:
    answered, _ = under_load(PruneClient(url), ASKED, 1, 60)
    timed = [dataclasses.replace(one, milliseconds=float(place)) for place, one in enumerate(answered, 1)]
    found = row(("bm25", 32, 1), timed, 2.0, 1.5)
    assert (found.labeler, found.together_at_most, found.clients, found.requests) == ("bm25", 32, 1, 20)
    assert (found.requests_a_batch, found.requests_a_second, found.documents_a_second) == (1.5, 10, 20)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == pytest.approx((10.5, 19.05, 19.81))
    tokens = [ContextPruner("bm25").prune(one.question, one.documents).n_tokens_before for one in ASKED]
    assert found.tokens_a_second == sum(tokens) / 2


def test_requests_have_no_passage_in_common() -> None:
    def example(number: int, source: str, *texts: str) -> TrainingExample:
        documents = tuple(map(Document, texts))
        return TrainingExample(str(number), f"{number}?", documents, ((),) * len(texts), "en", source, "g")

    long = "x" * 4000
    examples = [example(number, "ab"[number % 2], f"text {number // 4}", f"own {number}", long) for number in range(16)]
    found = requests_of(examples)
    texts = [text for one in found for text in one.documents]
    assert len(texts) == len(set(texts)) == DOCUMENTS * len(found)
    assert long not in texts
    # "a" was first at every shared text: 4 of them and 8 of its own; "b" has 8 of its own
    assert len(found) == 12 // DOCUMENTS + 8 // DOCUMENTS
    assert found[0] == Asked("0?", ("text 0", "own 0", "own 2", "text 1", "own 4"))
