"""The server: many requests at once get what a direct call gives; what is too large or wrong is told so."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import httpx2
import pytest

from contextpruner import ContextPruner, DocumentCache, Policy
from contextpruner.cli.serve import read_keys
from contextpruner.integrations.server.settings import ServerSettings
from tests.contextpruner.integrations.served import BODY, HOLD, POISON, QUESTION, TEXT, Moody, posted, released, serving

WORDS = ["dome", "bread", "bees", "rain", "tower", "engineer", "Brunelleschi", "stone", "crypt", "flour", "May", "1436"]
RULES = [{}, {"threshold": 0.5}, {"top_k": 2}, {"max_tokens": 20}, {"top_k": 3, "reorder": True}, {"max_tokens": 0}]


def bare(result: dict[str, object]) -> dict[str, object]:
    """Without the time, as the lists that JSON makes of tuples."""
    return json.loads(json.dumps({key: value for key, value in result.items() if key != "labelling_ms"}))


def requests(n: int, seed: int) -> list[dict[str, object]]:
    """Requests of 1 to 4 documents of 0 to 6 sentences, some of them shared, each with rules."""
    source = random.Random(seed)

    def text() -> str:
        lines = [" ".join(source.choices(WORDS, k=source.randint(2, 9))) for _ in range(source.randint(0, 6))]
        return "".join(f"{line.capitalize()}. " for line in lines)

    shared = [text() for _ in range(5)]
    made = []
    for number in range(n):
        documents = [
            source.choice(shared)
            if source.random() < 0.3
            else {"text": text(), "id": f"{number}.{place}", "title": "Stone"}
            for place in range(source.randint(1, 4))
        ]
        question = f"Where is the {' '.join(source.choices(WORDS, k=3))}?"
        made.append({"question": question, "documents": documents, **source.choice(RULES)})
    return made


def test_concurrent_requests_each_get_what_a_direct_call_gives() -> None:
    asked = requests(200, seed=1)

    async def run() -> tuple[list[httpx2.Response], list[int]]:
        async with serving(settings=ServerSettings(max_queue=200)) as (client, service):
            sizes: list[int] = []
            service.batcher.batched = sizes.append
            return await asyncio.gather(*(posted(client, one) for one in asked)), sizes

    answers, sizes = asyncio.run(run())
    direct = ContextPruner("bm25")
    for one, answer in zip(asked, answers, strict=True):
        rules = {key: value for key, value in one.items() if key not in ("question", "documents")}
        wanted = direct.prune(one["question"], one["documents"], Policy(**rules))  # type: ignore[arg-type]
        assert answer.status_code == 200
        assert answer.json() == bare(wanted.to_dict())
    assert sum(sizes) == 200
    assert max(sizes) > 1


def test_same_documents_give_the_same_bytes_in_any_company() -> None:
    bodies = {"/v1/prune": BODY, "/rerank": {"query": QUESTION, "texts": [TEXT, ""]}}
    bodies |= dict.fromkeys(("/v1/rerank", "/v2/rerank"), {"query": QUESTION, "documents": [TEXT, "Bees hum."]})

    async def run(others: int) -> list[bytes]:
        async with serving() as (client, _):
            mine = [posted(client, body, path) for path, body in bodies.items()]
            answers = await asyncio.gather(*(posted(client, one) for one in requests(others, seed=2)), *mine)
            return [answer.content for answer in answers[others:]]

    assert asyncio.run(run(0)) == asyncio.run(run(30))


def test_a_poisoned_item_fails_only_its_own_request() -> None:
    protected = {**BODY, "documents": [{"text": TEXT, "protected": True}], "max_tokens": 1}
    bodies = [BODY, {**BODY, "question": POISON}, protected, *requests(9, seed=3)]

    async def run() -> tuple[list[httpx2.Response], list[int]]:
        async with serving(ContextPruner(Moody(), cache=DocumentCache())) as (client, service):
            sizes: list[int] = []
            service.batcher.batched = sizes.append
            released.clear()
            first = asyncio.create_task(posted(client, {**BODY, "question": HOLD}))
            await asyncio.sleep(0.05)
            others = [asyncio.create_task(posted(client, one)) for one in bodies]
            while service.batcher.n_waiting < len(bodies):
                await asyncio.sleep(0.01)
            released.set()
            return await asyncio.gather(first, *others), sizes

    answers, sizes = asyncio.run(run())
    assert sizes == [1, 12]
    assert [answer.status_code for answer in answers] == [200, 200, 500, 422, *[200] * 9]
    assert "Brunelleschi" not in answers[2].text
    assert "budget" in answers[3].json()["detail"] or "protected" in answers[3].json()["detail"]
    direct = ContextPruner("bm25").prune(QUESTION, [TEXT]).to_dict()
    assert answers[1].json()["documents"] == bare(direct)["documents"]


def refusals(settings: ServerSettings, *sent: tuple[dict[str, object], dict[str, str]]) -> list[tuple[int, str]]:
    async def run() -> list[tuple[int, str]]:
        async with serving(settings=settings) as (client, _):
            answers = [await client.post("/v1/prune", headers=headers, **body) for body, headers in sent]  # type: ignore[arg-type]
            return [(answer.status_code, answer.json().get("detail", "")) for answer in answers]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"question": "a"', "JSON"),
        ("[" * 100_000, "body"),
        ('{"question": "a"}', "documents: Field required"),
        ('{"question": " ", "documents": ["b"]}', "want a question"),
        ('{"question": "a", "documents": []}', "at least one document"),
        ('{"question": "a", "documents": [3]}', "documents.0"),
        ('{"question": "a", "documents": [{"text": "b", "txet": "c"}]}', "txet: Extra inputs"),
        ('{"question": "a", "documents": ["b"], "treshold": 1}', "treshold: Extra inputs"),
        ('{"question": "a", "documents": ["b"], "threshold": NaN}', "threshold"),
        ('{"question": "a", "documents": ["b"], "threshold": 0.1, "target_recall": 0.9}', "got both"),
        ('{"question": "a", "documents": ["b"], "target_recall": 0.9}', "calibration"),
        ('{"question": "a", "documents": ["b"], "protect": ["(a)\\\\1"]}', "protect"),
        ('{"question": "a", "documents": [{"text": "b", "format": "pdf"}]}', "format"),
        ('{"question": "a", "documents": ["\\ud800"]}', "surrogate"),
        ('{"question": "a", "documents": [{"text": "b", "title": "\\udfff"}]}', "surrogate"),
        ('{"question": "a", "documents": [{"text": "b", "metadata": {"\\ud800": 1}}]}', "UTF-8"),
        ('{"question": "a", "documents": [{"text": "b", "metadata": {"x": [1e999]}}]}', "JSON"),
    ],
)
def test_what_is_malformed_is_refused_with_the_reason(body: str, reason: str) -> None:
    ((status, said),) = refusals(ServerSettings(), ({"content": body.encode()}, {"Content-Type": "application/json"}))
    assert status in (400, 422) if body[0] == "[" else status == 422
    assert reason in said


def test_what_is_too_large_is_refused() -> None:
    settings = ServerSettings(max_body_bytes=1000, max_documents=3)
    large = {"question": "a", "documents": ["b" * 2000]}
    many = {"question": "a", "documents": ["b"] * 4}
    found = refusals(settings, ({"json": large}, {}), ({"content": b"x" * 5000}, {}), ({"json": many}, {}))
    assert [status for status, _ in found] == [413, 413, 413]
    assert [said.partition(", got")[0] for _, said in found] == [
        "want a body of at most 1000 bytes",
        "want a body of at most 1000 bytes",
        "want at most 3 documents",
    ]
    assert refusals(ServerSettings(max_held_bytes=10), ({"json": many}, {}))[0][0] == 503


def test_a_full_queue_and_a_closing_server_say_when_to_come_again() -> None:
    async def run() -> tuple[list[httpx2.Response], httpx2.Response, httpx2.Response]:
        pruner = ContextPruner(Moody(), cache=DocumentCache())
        async with serving(pruner, ServerSettings(max_queue=2)) as (client, service):
            released.clear()
            tasks = [asyncio.create_task(posted(client, {**BODY, "question": HOLD}))]
            await asyncio.sleep(0.05)
            tasks += [asyncio.create_task(posted(client, BODY)) for _ in range(3)]
            await asyncio.sleep(0.05)
            closing = asyncio.create_task(service.batcher.close())
            await asyncio.sleep(0)
            late, health = await posted(client, BODY), await client.get("/health")
            assert not closing.done()
            released.set()
            await closing
            assert service.batcher.n_waiting == 0
            return await asyncio.gather(*tasks), late, health

    answers, late, health = asyncio.run(run())
    # what was accepted is finished
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429]
    for refused in (next(answer for answer in answers if answer.status_code == 429), late, health):
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (late.status_code, health.status_code) == (503, 503)


def test_keys() -> None:
    settings = ServerSettings(api_keys=("first-key", "second-key"))
    headers = [
        {},
        {"Authorization": "Bearer first"},
        {"Authorization": "Bearer \xfc"},
        {"Authorization": "Basic first-key"},
    ]
    headers += [
        {"Authorization": f"{scheme} {key}"} for scheme, key in (("Bearer", "first-key"), ("bearer", "second-key"))
    ]
    encoded = [{name: value.encode("latin-1") for name, value in one.items()} for one in headers]
    found = refusals(settings, *(({"json": BODY}, one) for one in encoded))  # type: ignore[arg-type]
    assert [status for status, _ in found] == [401, 401, 401, 401, 200, 200]
    assert "first-key" not in repr(settings)

    async def others() -> list[int]:
        async with serving(settings=settings) as (client, _):
            form = {"question": QUESTION, "documents": TEXT}
            answers = [await client.get(path) for path in ("/health", "/", "/metrics", "/openapi.json")]
            answers += [await client.post("/", data=form), await client.post("/", data={**form, "key": "second-key"})]
            assert "second-key" not in answers[-1].text
            return [answer.status_code for answer in answers]

    assert asyncio.run(others()) == [200, 200, 401, 401, 401, 200]


def test_keys_are_read_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(" one \n\ntwo")
    assert read_keys(file) == ("one", "two")
    file.write_text("\n")
    with pytest.raises(ValueError, match="want an API key a line"):
        read_keys(file)


@pytest.mark.parametrize(
    "given", [{"max_queue": 0}, {"max_batch": True}, {"body_seconds": float("nan")}, {"api_keys": ("a", " ")}]
)
def test_settings_that_are_none_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=[*given][0]):
        ServerSettings(**given)  # type: ignore[arg-type]


def test_rules_of_the_server_hold_where_a_request_gives_none() -> None:
    settings = ServerSettings(policy=Policy(target_recall=0.5, empty="empty"))
    # without a calibration its rule is refused, and a rule of the request takes its place
    found = refusals(settings, ({"json": BODY}, {}), ({"json": {**BODY, "threshold": 0.9}}, {}))
    assert [status for status, _ in found] == [422, 200]
