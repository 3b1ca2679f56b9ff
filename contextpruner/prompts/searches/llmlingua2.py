"""LLMLingua-2 (Pan et al. 2024, arXiv:2403.12968): pieces go by what a token classifier says of them; no task is asked.

    worth(piece) = mean over its words of softmax(logits)[1],   lowest first, until the prompt fits

The labeler of the same name gives the numbers, each piece taken as one of its units.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from contextpruner.documents.document import Document
from contextpruner.labeler import Labeler, build_labeler
from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.pieces import Pieces
from contextpruner.prompts.run import Run
from contextpruner.prompts.search import Search
from contextpruner.units.split import SplitDocument
from contextpruner.units.unit import Unit


@dataclass(frozen=True)
class Llmlingua2(Search):
    """By the keep probabilities of a token classifier of LLMLingua-2, which has to be given: no evaluations."""

    model: str = ""

    def prepare(self) -> None:
        if not self.model:
            raise ValueError(
                "llmlingua2 wants the token classifier that it goes by: model=FOLDER or a hub id, "
                "say llmlingua2:model=microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank"
            )
        self._labeler.prepare()

    def search(self, run: Run) -> Candidate:
        document = _as_document(run.task.pieces)
        run.worth = self._labeler.score("", [document]).probabilities[0].astype(np.float64)
        return run.shortened(run.full, "the classifier keeps others first")

    @cached_property
    def _labeler(self) -> Labeler:
        return build_labeler(f"llmlingua2:model={json.dumps(self.model)}")


def _as_document(pieces: Pieces) -> SplitDocument:
    """The prompt as a document whose units are its pieces."""
    stops = np.cumsum([len(text) for text in pieces.texts]).tolist()
    units = [Unit(start, stop, "sentence") for start, stop in zip([0, *stops], stops, strict=False)]
    return SplitDocument(Document("".join(pieces.texts)), tuple(units))
