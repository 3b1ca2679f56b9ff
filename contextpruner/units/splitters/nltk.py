"""Punkt of nltk (Kiss and Strunk 2006): abbreviations are words that a corpus seldom shows without their full stop.

With the trained tables of a language (`punkt_tab`) where nltk finds them on this machine; they come with no package
and are never downloaded here. Without them Punkt knows no abbreviation but initials and what stands before a
lower-case letter.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from contextpruner.units.sentence_splitter import SpanSplitter
from prunekernels.extras import require

if TYPE_CHECKING:
    from nltk.tokenize.punkt import PunktSentenceTokenizer

Data = Literal["auto", "punkt_tab", "none"]


@dataclass(frozen=True)
class Nltk(SpanSplitter):
    """nltk's Punkt, trained on `language` where `punkt_tab` is installed; `data=none` never looks for it."""

    language: str = "english"
    data: Data = "auto"

    def spans(self, text: str) -> Iterable[tuple[int, int]]:
        return _punkt(self.language, self.data).span_tokenize(text)


@functools.cache
def _punkt(language: str, data: Data) -> PunktSentenceTokenizer:
    punkt = require("nltk.tokenize.punkt", "splitters")
    if data == "none":
        return punkt.PunktSentenceTokenizer()
    try:
        return punkt.PunktTokenizer(language)
    except LookupError:
        if data == "auto":
            return punkt.PunktSentenceTokenizer()
        raise ValueError(
            f"nltk: want the tables tokenizers/punkt_tab/{language} in a folder of nltk.data.path, got none"
        ) from None
