"""The tools of an agent: what is kept has labels, and what was dropped comes back word for word."""

from __future__ import annotations

import asyncio

import mcp
import pytest

from contextpruner import ContextPruner
from contextpruner.integrations.mcp import Tools, mcp_server
from contextpruner.integrations.remembered import Remembered
from tests.contextpruner.integrations.served import KEPT, QUESTION, TEXT

LONG = "Bees hum. It is May. The crypt is old. The dome was engineered by Brunelleschi. It rains. Flour is white."


def test_an_agent_prunes_and_expands() -> None:
    async def run() -> tuple[set[str], dict[str, object], str, bool]:
        async with mcp.Client(mcp_server(ContextPruner("bm25"))) as agent:
            tools = {tool.name for tool in (await agent.list_tools()).tools}
            asked = {"question": QUESTION, "documents": [LONG, TEXT], "max_tokens": 40}
            pruned = (await agent.call_tool("prune", asked)).structured_content
            assert pruned is not None
            asked = {"handle": pruned["handle"], "labels": [pruned["dropped"][0], "2"]}
            expanded = (await agent.call_tool("expand", asked)).content[0].text
            wrong = await agent.call_tool("expand", {"handle": "none", "labels": ["1"]})
            return tools, pruned, expanded, wrong.is_error

    tools, pruned, expanded, is_error = asyncio.run(run())
    assert tools == {"prune", "expand"}
    assert f"[1.4] {LONG[39:80].strip()}" in pruned["text"]
    assert pruned["dropped"] == ["1.1-1.3", "1.5-1.6", "2.2"]
    assert pruned["n_tokens_after"] < pruned["n_tokens_before"]
    assert (
        expanded
        == f"[1.1] Bees hum.\n[1.2] It is May.\n[1.3] The crypt is old.\n[2.1] {KEPT.strip()}\n[2.2] It rains in May."
    )
    assert is_error


def test_all_that_is_dropped_comes_back_and_the_handle_is_the_same() -> None:
    tools = Tools(ContextPruner("bm25"))
    pruned = tools.prune(QUESTION, [LONG, TEXT], threshold=0.99)
    assert pruned == tools.prune(QUESTION, [LONG, TEXT], threshold=0.99)
    assert pruned.handle != tools.prune(QUESTION, [LONG, TEXT], threshold=0.98).handle
    given = tools.expand(pruned.handle, pruned.dropped) + pruned.text
    for sentence in f"{LONG} {TEXT}".rstrip(".").split(". "):
        assert sentence in given


@pytest.mark.parametrize(
    ("labels", "message"),
    [([], "got none"), (["x"], "want labels"), (["0"], "1 to 1"), (["2.1"], "1 to 1"), (["1.3"], "1 to 2"),
     (["1.2-1.1"], "1 to 2"), (["1.1-2.2"], "1 to 1"), (["1.1-1.2", "1.0"], "1 to 2")],
)  # fmt: skip
def test_labels_that_lead_nowhere_are_refused(labels: list[str], message: str) -> None:
    tools = Tools(ContextPruner("bm25"))
    handle = tools.prune(QUESTION, [TEXT]).handle
    assert tools.expand(handle, ["[1.1 - 2]"]) == tools.expand(handle, ["1"])
    with pytest.raises(ValueError, match=message):
        tools.expand(handle, labels)


def test_the_oldest_results_are_forgotten() -> None:
    result = ContextPruner("bm25").prune(QUESTION, [TEXT])
    held = Remembered(most=2, characters=2 * len(TEXT))
    for name in ("a", "b", "b", "c"):
        held.put(name, result)
    assert [held.get(name) is result for name in ("a", "b", "c")] == [False, True, True]
    small = Remembered(characters=len(TEXT) - 1)
    small.put("a", result)
    assert small.get("a") is None
