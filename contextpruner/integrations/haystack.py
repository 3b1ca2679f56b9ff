"""Haystack: a component that prunes the documents of a pipeline.

    from contextpruner.integrations.haystack import DocumentPruner
    pipeline.add_component("pruner", DocumentPruner(labeler="bm25", rules={"max_tokens": 300}))
    pipeline.connect("retriever.documents", "pruner.documents")

It is written and read with its pipeline: labeler, splitter and rules are text and numbers. Haystack reads classes of
others only where it is told to: `Pipeline.loads(text, allowed_modules=["contextpruner.integrations.haystack"])`.
Documents are copies with their ids and their meta, where kept spans stand under `contextpruner`; the score is the
labeler's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from contextpruner.decisions.rules import Policy
from contextpruner.integrations._pruned import noted, pruned
from contextpruner.pruner import ContextPruner
from prunekernels.extras import require

require("haystack", "rag")
from haystack import Document, component, default_from_dict, default_to_dict  # noqa: E402

RuleValues = Mapping[str, object]


@component
class DocumentPruner:
    """Prunes documents for a query, by `rules` (the fields of a `Policy`) or the labeler's own threshold.

    Without a labeler it is the packaged model. A document of which nothing is kept is left out, unless `keep_empty`.
    """

    def __init__(
        self,
        labeler: str | None = None,
        splitter: str = "rules",
        rules: RuleValues | None = None,
        keep_empty: bool = False,
    ) -> None:
        """Raises ValueError for a labeler, a splitter or rules that are none."""
        self.labeler, self.splitter, self.keep_empty = labeler, splitter, keep_empty
        self.rules = dict(rules or {})
        self.policy = _policy(self.rules)
        self.pruner = ContextPruner(labeler, splitter=splitter)

    def warm_up(self) -> None:
        """Load the labeler's model."""
        self.pruner.labeler.prepare()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        threshold: float | None = None,
        max_tokens: int | None = None,
    ) -> dict[str, list[Document]]:
        """The documents with what the query needs; `top_k` says how many documents, as of a ranker."""
        given = {"top_documents": top_k, "threshold": threshold, "max_tokens": max_tokens}
        policy = replace(self.policy, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        texts = [(document.content, document.meta) for document in documents]
        found = pruned(self.pruner, query, texts, policy, self.keep_empty)
        rows = [(documents[one.place], one.document) for one in found]
        made = [
            document
            if kept is None
            else replace(document, content=kept.text, meta=noted(document.meta, kept), score=kept.score)
            for document, kept in rows
        ]
        return {"documents": made}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        threshold: float | None = None,
        max_tokens: int | None = None,
    ) -> dict[str, list[Document]]:
        """As `run`, in a thread, so that several run at once."""
        return await asyncio.to_thread(self.run, query, documents, top_k, threshold, max_tokens)

    def to_dict(self) -> dict[str, object]:
        """The component as its pipeline is written."""
        rules = {name: list(value) if isinstance(value, tuple) else value for name, value in self.rules.items()}
        fields = {"labeler": self.labeler, "splitter": self.splitter, "rules": rules, "keep_empty": self.keep_empty}
        return default_to_dict(self, **fields)

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> DocumentPruner:
        """The component that `to_dict` wrote."""
        return default_from_dict(cls, data)


def _policy(rules: RuleValues) -> Policy:
    # a pipeline that was written has lists
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in rules.items()}
    try:
        return Policy(**values)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"rules wants fields of a policy: {error}") from error
