"""LlamaIndex: a node postprocessor that prunes what a retriever found.

    from contextpruner import ContextPruner, Policy
    from contextpruner.integrations.llama_index import ContextPostprocessor
    pruning = ContextPostprocessor(pruner=ContextPruner("bm25"), policy=Policy(max_tokens=300))
    engine = index.as_query_engine(node_postprocessors=[pruning])

Nodes are copies with their ids, relations and metadata. The score is the labeler's; kept spans stand in the metadata
under `contextpruner`, which neither a model nor an embedding is shown. `start_char_idx` and `end_char_idx` go on saying
where the whole node stood; spans are counted in its text.
"""

from __future__ import annotations

from contextpruner.decisions.rules import Policy
from contextpruner.integrations._pruned import NOTE, noted, pruned
from contextpruner.pruner import ContextPruner
from contextpruner.results.result import PrunedDocument
from prunekernels.extras import require

require("llama_index.core.postprocessor.types", "rag")
from llama_index.core.postprocessor.types import BaseNodePostprocessor  # noqa: E402
from llama_index.core.schema import NodeWithScore, QueryBundle  # noqa: E402
from pydantic import Field  # noqa: E402


class ContextPostprocessor(BaseNodePostprocessor):
    """Prunes nodes for the query, by `policy` or the labeler's own threshold.

    A node of which nothing is kept is left out, unless `keep_empty`. Async calls run in threads, several at once.
    """

    pruner: ContextPruner = Field(exclude=True)
    policy: Policy | None = Field(default=None, exclude=True)
    keep_empty: bool = False

    @classmethod
    def class_name(cls) -> str:
        """The name that is written where a pipeline is saved."""
        return "ContextPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """The nodes with what the query needs; raises ValueError without a query, and as `ContextPruner.prune` does."""
        if query_bundle is None:
            raise ValueError("want a query to prune for, got none")
        texts = [(node.node.get_content(), node.node.metadata) for node in nodes]
        found = pruned(self.pruner, query_bundle.query_str, texts, self.policy, self.keep_empty)
        rows = [(nodes[one.place], one.document) for one in found]
        return [node.model_copy() if made is None else _copy(node, made) for node, made in rows]


def _copy(node: NodeWithScore, made: PrunedDocument) -> NodeWithScore:
    hidden = {
        name: [*getattr(node.node, name), NOTE]
        for name in ("excluded_llm_metadata_keys", "excluded_embed_metadata_keys")
    }
    copy = node.node.model_copy(update=hidden | {"metadata": noted(node.node.metadata, made)})
    copy.set_content(made.text)
    return NodeWithScore(node=copy, score=made.score)
