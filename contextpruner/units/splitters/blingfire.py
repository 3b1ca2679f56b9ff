"""blingfire: one finite-state machine for sentences in many languages, compiled.

Its last release is of 2021, 99 MB with programs for x86-64 only; that is why it has an extra of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from contextpruner.units.sentence_splitter import SpanSplitter
from prunekernels.extras import require


@dataclass(frozen=True)
class Blingfire(SpanSplitter):
    """blingfire's finite-state machine, for many languages."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        return require("blingfire", "blingfire").text_to_sentences_and_offsets(text)[1]
