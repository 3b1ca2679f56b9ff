"""What the server says: in three dialects, in shadow mode, to its log, to Prometheus and on its page."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx2
import pytest

from contextpruner import ContextPruner, DocumentCache
from contextpruner.integrations.server.json_log import JsonLines
from contextpruner.integrations.server.settings import ServerSettings
from contextpruner.integrations.server.shadow import NEAREST, leaning
from tests.contextpruner.integrations.served import BODY, KEPT, POISON, QUESTION, TEXT, Moody, posted, serving


def test_dialects() -> None:
    async def run() -> list[httpx2.Response]:
        async with serving() as (client, _):
            texts = ["Bees hum.", TEXT, "It rains."]
            tei = {"query": QUESTION, "texts": texts, "raw_scores": False, "return_text": True, "truncate": True}
            cohere = {"model": "m", "query": QUESTION, "documents": texts, "top_n": 1, "max_tokens_per_doc": 4096}
            jina = {"model": "m", "query": QUESTION, "documents": [{"text": text} for text in texts], "unknown": 1}
            bodies = {"/rerank": tei, "/v2/rerank": cohere, "/v1/rerank": jina}
            return [await posted(client, body, path) for path, body in bodies.items()]

    tei, cohere, jina = (answer.json() for answer in asyncio.run(run()))
    best = ContextPruner("bm25").prune(QUESTION, ["Bees hum.", TEXT, "It rains."]).documents[1].score
    assert tei[0] == {"index": 1, "score": best, "text": TEXT, "pruned_text": KEPT}
    assert [row["index"] for row in tei] == [1, 0, 2]
    assert cohere["results"] == [{"index": 1, "relevance_score": best, "pruned_text": KEPT}]
    assert cohere["id"]
    assert jina["model"] == "m"
    assert jina["results"][0] == {
        "index": 1, "relevance_score": best, "pruned_text": KEPT, "document": {"text": TEXT}
    }  # fmt: skip
    assert jina["usage"]["total_tokens"] > 10


def test_shadow_mode_answers_with_everything_and_logs_what_would_go(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "contextpruner.serve")
    headers = {"X-Request-Id": "shadow-1"}

    async def run() -> tuple[httpx2.Response, httpx2.Response, httpx2.Response, httpx2.Response]:
        async with serving(settings=ServerSettings(shadow=True)) as (client, _):
            pruned = await client.post("/v1/prune", json=BODY, headers=headers)
            answers = [{"id": "shadow-1", "answer": "In May [1.1]."}, {"id": "shadow-2", "answer": "?"}]
            said = [await client.post("/v1/shadow/answers", json=answer) for answer in answers]
            return pruned, await client.post("/rerank", json={"query": QUESTION, "texts": [TEXT]}), *said

    pruned, reranked, leaned, unknown = asyncio.run(run())
    document = pruned.json()["documents"][0]
    assert document["text"] == TEXT == reranked.json()[0]["pruned_text"]
    assert document["n_tokens_after"] == document["n_tokens_before"]
    assert [span["kept"] for span in document["spans"]] == [True, True]
    (line,) = [
        record.fields for record in caplog.records if record.message == "shadow" and record.fields["id"] == "shadow-1"
    ]  # type: ignore[attr-defined]
    assert line["documents"][0]["dropped"] == [[len(KEPT), len(TEXT)]]
    assert line["n_tokens_after"] < line["n_tokens_before"]
    assert leaned.json() == {"leaned": True, "nearest_dropped": ["1.2"], "cited_dropped": []}
    assert unknown.status_code == 422


def test_an_answer_leans_on_what_it_cites_or_says() -> None:
    pruner = ContextPruner("bm25")
    result = pruner.prune(QUESTION, [TEXT])

    def found(answer: str) -> dict[str, object]:
        return leaning(result, pruner.prune(answer, [TEXT], NEAREST), answer)

    assert found("Brunelleschi did it [1.1].") == {"leaned": False, "nearest_dropped": [], "cited_dropped": []}
    assert found("Brunelleschi [1.2]") == {"leaned": True, "nearest_dropped": [], "cited_dropped": ["1.2"]}
    assert found("When it rains") == {"leaned": True, "nearest_dropped": ["1.2"], "cited_dropped": []}
    assert found("Bees.")["leaned"] is False


def test_the_log_has_numbers_and_no_texts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "contextpruner.serve")

    async def run() -> None:
        async with serving(ContextPruner(Moody(), cache=DocumentCache())) as (client, _):
            for body in (BODY, {**BODY, "question": POISON}, {"question": "Brunelleschi"}):
                await client.post("/v1/prune", json=body, headers={"X-Request-Id": "one two"})

    asyncio.run(run())
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert not any(word in json.dumps(lines) for word in ("Brunelleschi", "dome", "one two"))
    assert [line["event"] for line in lines] == ["pruned", "request", "failed", "request", "request"]
    assert [line["status"] for line in lines if line["event"] == "request"] == [200, 500, 422]
    assert lines[2]["error"] == "RuntimeError"
    assert "served.py" in lines[2]["at"][-1]
    assert lines[0]["id"] == lines[1]["id"]


def test_metrics_count_what_was_done() -> None:
    async def run() -> str:
        async with serving() as (client, _):
            for path, body in (("/v1/prune", BODY), ("/v1/prune", {}), ("/nowhere", BODY)):
                await posted(client, body, path)
            return (await client.get("/metrics")).text

    lines = dict(line.rsplit(" ", 1) for line in asyncio.run(run()).splitlines() if line[0] != "#")
    assert lines['contextpruner_requests_total{route="/v1/prune",status="200"}'] == "1.0"
    assert lines['contextpruner_requests_total{route="/v1/prune",status="422"}'] == "1.0"
    assert lines['contextpruner_requests_total{route="other",status="404"}'] == "1.0"
    assert float(lines['contextpruner_tokens_total{stage="after"}']) < float(
        lines['contextpruner_tokens_total{stage="before"}']
    )
    assert lines["contextpruner_batch_requests_count"] == "1.0"
    assert lines["contextpruner_queue_requests"] == "0.0"


def test_the_page_shows_what_is_kept_and_escapes_what_is_given() -> None:
    form = {
        "question": f"{QUESTION} <b>",
        "documents": f"{TEXT}\r\n---\r\n<script>alert(1)</script>\n --- \n",
        "rule": "top_k",
    }

    async def run() -> list[httpx2.Response]:
        async with serving() as (client, _):
            wrong = [
                {**form, "value": "x"},
                {**form, "rule": "no"},
                {**form, "rule": "", "value": "1"},
                {"documents": TEXT},
                {},
            ]
            answers = [await client.get("/"), await client.post("/", data={**form, "value": "1"})]
            return [*answers, *[await client.post("/", data=one) for one in wrong]]

    empty, shown, *wrong = asyncio.run(run())
    assert empty.status_code == shown.status_code == 200
    assert shown.text.count("<article") == 2
    assert "<mark" in shown.text
    assert "<script" not in shown.text
    assert "<b>" not in shown.text
    assert "script" not in shown.headers["content-security-policy"]
    assert [answer.status_code for answer in wrong] == [422] * 5
    assert all('role="alert"' in answer.text for answer in wrong)
