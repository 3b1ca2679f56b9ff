"""The rules of `contextpruner.sentences`, the default: linear time, nothing to install, any language."""

from __future__ import annotations

from dataclasses import dataclass

from contextpruner import sentences
from contextpruner.sentence_splitter import SentenceSplitter


@dataclass(frozen=True)
class Rules(SentenceSplitter):
    """Our own rules: stops, what stands around them, closed lists of abbreviations."""

    def cut(self, text: str, start: int, end: int) -> list[int]:
        return sentences.cut(text, start, end)
