"""The conventions of sentence-transformers' CrossEncoder: `predict` and `rank`, where a reranker is expected.

    reranker = PruningCrossEncoder(ContextPruner("bm25"))
    for hit in reranker.rank("Who designed the dome?", texts, return_documents=True):
        hit["corpus_id"], hit["score"], hit["text"], hit["pruned_text"]

Scores are the labeler's document scores. Pairs of one question are labelled together: labelers like bm25, which compare
the documents of a call, say of a pair what they say of it in the company of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from contextpruner.decisions.rules import Policy
from contextpruner.integrations._pruned import ranked
from contextpruner.pruner import ContextPruner
from contextpruner.results.result import Result

if TYPE_CHECKING:
    import torch

Pair = Sequence[str]
# decides nothing about a score, and is a rule that every labeler takes
ANY = Policy(threshold=0)


@dataclass(frozen=True)
class PruningCrossEncoder:
    """A pruner that goes where a CrossEncoder with one label goes; `policy` says what `rank` keeps."""

    pruner: ContextPruner = field(default_factory=ContextPruner)
    policy: Policy | None = None

    def predict(  # noqa: PLR0913 - the parameters of the convention
        self,
        inputs: Pair | Sequence[Pair],
        prompt_name: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
    ) -> np.ndarray | torch.Tensor | list[np.float32] | np.float32:
        """The score of each pair of a question and a text, float32 [pairs]; of a single pair one number.

        Batches are the labeler's own, and there are no prompts: `batch_size`, `prompt_name` and `show_progress_bar`
        change nothing.
        """
        is_single = bool(inputs) and isinstance(inputs[0], str)
        pairs: Sequence[Pair] = [inputs] if is_single else inputs  # type: ignore[list-item]
        groups: dict[str, list[int]] = {}
        for place, pair in enumerate(pairs):
            if len(pair) != 2:
                raise ValueError(f"want pairs of a question and a text, got {len(pair)} texts at {place}")
            groups.setdefault(pair[0], []).append(place)
        scores = np.zeros(len(pairs), dtype=np.float32)
        lists = [[pairs[place][1] for place in places] for places in groups.values()]
        results = self.pruner.prune_many([*groups], lists, ANY) if groups else []
        for places, result in zip(groups.values(), results, strict=True):
            scores[places] = [document.score for document in result.documents]
        if is_single:
            return np.float32(scores[0])
        if convert_to_tensor:
            import torch

            return torch.from_numpy(scores)
        return scores if convert_to_numpy else [*scores]

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
    ) -> list[dict[str, int | float | str]]:
        """`corpus_id` and `score` of each document, best first; with `return_documents` its text and what is kept."""
        result: Result = self.pruner.prune(query, documents, self.policy)
        best = ranked(result)[:top_k]
        rows: list[dict[str, int | float | str]] = [{"corpus_id": place, "score": one.score} for place, one in best]
        if return_documents:
            rows = [
                row | {"text": one.original, "pruned_text": one.text} for row, (_, one) in zip(rows, best, strict=True)
            ]
        return rows
