"""LlamaIndex's nodes through the postprocessor, alone and in one of its query engines."""

from __future__ import annotations

import asyncio
import copy

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.schema import ImageNode, NodeRelationship, NodeWithScore, QueryBundle, RelatedNodeInfo, TextNode

from contextpruner import ContextPruner
from contextpruner.integrations.llama_index import ContextPostprocessor
from tests.contextpruner.integrations.passages import BREAD, N_CALLS, PASSAGES, Meeting, check_note
from tests.contextpruner.integrations.served import KEPT, QUESTION


def made_nodes() -> list[NodeWithScore]:
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="book")}
    nodes = [
        TextNode(id_=key, text=text, metadata=dict(metadata), relationships=source, start_char_idx=7, end_char_idx=99)
        for key, text, metadata in PASSAGES
    ]
    return [NodeWithScore(node=node, score=0.5) for node in nodes]


@pytest.mark.parametrize("keep_empty", [False, True])
def test_nodes_come_back_pruned_with_ids_and_metadata(keep_empty: bool) -> None:
    nodes = [*made_nodes(), NodeWithScore(node=ImageNode(id_="picture"))]
    given = copy.deepcopy(nodes)
    pruning = ContextPostprocessor(pruner=ContextPruner("bm25"), keep_empty=keep_empty)
    found = pruning.postprocess_nodes(nodes, query_str=QUESTION)
    assert nodes == given
    assert [node.node_id for node in found] == ["a", "b", *["c"] * keep_empty, "picture"]
    assert [node.get_content() for node in found] == [KEPT, KEPT, *[""] * keep_empty, ""]
    assert all(node.score is not None and node.score > 0.5 for node in found[:2])
    for node, (_, text, metadata) in zip(found[:2], PASSAGES, strict=False):
        assert metadata.items() <= node.metadata.items()
        check_note(node.metadata, text, KEPT)
        assert node.node.relationships == given[0].node.relationships
        assert (node.node.start_char_idx, node.node.end_char_idx) == (7, 99)
    assert pruning.postprocess_nodes([], query_str=QUESTION) == []
    with pytest.raises(ValueError, match="want a query"):
        pruning.postprocess_nodes(nodes)
    assert "pruner" not in pruning.to_dict()


def test_async_calls_run_at_once() -> None:
    pruning = ContextPostprocessor(pruner=ContextPruner(Meeting()))

    async def run() -> list[list[NodeWithScore]]:
        calls = (pruning.apostprocess_nodes(made_nodes(), QueryBundle(QUESTION)) for _ in range(N_CALLS))
        return await asyncio.gather(*calls)

    found = asyncio.run(run())
    assert [[node.node_id for node in nodes] for nodes in found] == [["a", "b"]] * N_CALLS


def test_in_a_query_engine() -> None:
    index = VectorStoreIndex([node.node for node in made_nodes()], embed_model=MockEmbedding(embed_dim=4))
    pruning = ContextPostprocessor(pruner=ContextPruner("bm25"))
    # a model that answers with its prompt
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=3, node_postprocessors=[pruning])
    answer = engine.query(QUESTION)
    assert KEPT.strip() in str(answer)
    assert "example.org/a" in str(answer)
    for word in (BREAD[:5], "rains", "contextpruner"):
        assert word not in str(answer)
    assert {node.node_id for node in answer.source_nodes} == {"a", "b"}
