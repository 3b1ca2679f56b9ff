"""syntok: sentences from tokens, by rules for English, German and Spanish at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from contextpruner.units.sentence_splitter import SpanSplitter
from prunekernels.extras import require


@dataclass(frozen=True)
class Syntok(SpanSplitter):
    """syntok's rules for English, German and Spanish."""

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        for paragraph in require("syntok.segmenter", "splitters").analyze(text):
            for tokens in filter(None, paragraph):
                yield tokens[0].offset, tokens[-1].offset + len(tokens[-1].value)
