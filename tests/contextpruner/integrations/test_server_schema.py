"""Requests made from the OpenAPI schema, valid and not: the server answers each, and never with an error of its own."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from contextpruner import ContextPruner, DocumentCache
from contextpruner.integrations.server.app import create_app
from contextpruner.integrations.server.settings import ServerSettings

APP = create_app(ContextPruner("bm25", cache=DocumentCache()), ServerSettings(shadow=True))
OPERATIONS = {
    one.ok().path: one.ok() for one in schemathesis.openapi.from_asgi("/openapi.json", APP).get_all_operations()
}
# a few, the same each time; to shrink one that fails takes longer than to read it
SETTINGS = settings(
    max_examples=10, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[*HealthCheck],
)  # fmt: skip


@pytest.mark.parametrize("path", OPERATIONS)
def test_no_request_of_the_schema_ends_in_an_error_of_the_server(path: str) -> None:
    statuses = []

    @given(case=OPERATIONS[path].as_strategy())
    @settings(SETTINGS)
    def check(case: schemathesis.Case) -> None:
        answer = case.call()
        statuses.append(answer.status_code)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json()["detail"]

    check()
    assert statuses


def test_every_route_is_in_the_schema() -> None:
    posts = {"/v1/prune", "/rerank", "/v1/rerank", "/v2/rerank", "/v1/shadow/answers"}
    assert {*OPERATIONS} == posts | {"/health", "/metrics"}
