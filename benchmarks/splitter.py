"""Sentence splitters side by side: characters a second, boundaries found on hand-checked sentences, exactness.

    python -m benchmarks.splitter                      needs requirements/peers.txt
    python -m benchmarks.splitter --characters 20000   a first look; nothing is recorded

Speed is one call on English prose of 4,096 characters, then 16 times that, then 16 times more; a length that would
take a splitter longer than `SECONDS` by its time on the length before is left out. The prose is the marked news
texts, each a paragraph, repeated. Accuracy is the harmonic mean of precision and recall of inner boundaries
(marked_sentences), for each kind of text. Exact: the spans follow each other and leave out nothing but white
space; partition: they join to the text itself, character by character.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from benchmarks.harness import measure, record, require_green
from benchmarks.marked_sentences import LANGUAGES, Found, MarkedText, compare, read
from benchmarks.splitter_peers import Peer, Splitter, all_peers, is_exact, partitions

LENGTHS = (4096, 65_536, 1_048_576)
SECONDS = 30
TESTS = ("tests/contextpruner/test_splitter.py", "tests/contextpruner/test_marked_sentences.py")


@dataclass(frozen=True)
class Speed:
    """Characters a second of one call on `characters` of English prose."""

    splitter: str
    characters: int
    characters_per_second: float
    milliseconds: float


@dataclass(frozen=True)
class Accuracy:
    """Boundaries of one kind of text, or of all of them; texts on which the spans are exact or partition it."""

    splitter: str
    kind: str
    f1: float
    marked: int
    found: int
    both: int
    texts: int
    exact: int
    partition: int


def prose(texts: list[MarkedText], n_characters: int) -> str:
    """So many characters of the news texts, paragraph after paragraph."""
    once = "\n\n".join(item.text.strip() for item in texts) + "\n\n"
    return (once * (n_characters // len(once) + 1))[:n_characters]


def speeds(peer: Peer, texts: list[MarkedText], longest: int) -> list[Speed]:
    rows: list[Speed] = []
    cut = peer.make("en")
    for length in LENGTHS:
        # a splitter that is worse than linear may take longer still, and is stopped at the length after
        is_slow = rows and rows[-1].milliseconds * length / rows[-1].characters > 1e3 * SECONDS
        if length > longest or is_slow:
            break
        text = prose(texts, length)
        taken = measure(cut, [(text,)], warmup=1, repeats=20, seconds=3).p50
        rows.append(Speed(peer.name, length, 1e3 * length / taken, taken))
    return rows


def accuracies(peer: Peer, kinds: dict[str, list[MarkedText]]) -> list[Accuracy]:
    rows = []
    for kind, texts in kinds.items():
        cut = peer.make(LANGUAGES.get(kind, "en"))
        rows.append(_accuracy(peer.name, kind, cut, texts))
    counts = [[getattr(row, field) for row in rows] for field in ("found", "marked", "both")]
    whole = Found(*map(sum, counts))
    texts, exact, partition = (sum(getattr(row, field) for row in rows) for field in ("texts", "exact", "partition"))
    rows.append(Accuracy(peer.name, "all", whole.f1, whole.marked, whole.found, whole.both, texts, exact, partition))
    return rows


def _accuracy(name: str, kind: str, cut: Splitter, texts: list[MarkedText]) -> Accuracy:
    found = compare(lambda text: [end for _, end in cut(text)], texts)
    spans = [(item.text, cut(item.text)) for item in texts]
    exact, partition = (sum(check(*pair) for pair in spans) for check in (is_exact, partitions))
    return Accuracy(name, kind, found.f1, found.marked, found.found, found.both, len(texts), exact, partition)


def main() -> None:
    """Print both tables; append the record."""
    parser = argparse.ArgumentParser(description="Sentence splitters: speed, accuracy, exactness.")
    parser.add_argument("--characters", type=int, default=max(LENGTHS), help="the longest text that is timed")
    options = parser.parse_args()
    require_green(TESTS)
    kinds = read()
    fast: list[Speed] = []
    good: list[Accuracy] = []
    for peer in all_peers():
        try:
            fast += speeds(peer, kinds["news"], options.characters)
            good += accuracies(peer, kinds)
        except ImportError as error:
            print(f"{peer.name}: skipped, {error}", flush=True)
            continue
        line = ", ".join(
            f"{row.characters:,}: {row.characters_per_second / 1e6:.3f} M/s"
            for row in fast
            if row.splitter == peer.name
        )
        print(f"{peer.name}: {line}", flush=True)
    names = list(dict.fromkeys(row.splitter for row in good))
    for kind in [*kinds, "all"]:
        print(f"{kind:14}", *(f"{row.f1:.3f}" for row in good if row.kind == kind))
    for name in names:
        whole = next(row for row in good if row.splitter == name and row.kind == "all")
        print(f"{name}: exact {whole.exact} of {whole.texts}, partition {whole.partition}")
    if options.characters >= max(LENGTHS):
        print(record("splitter", fast))
        print(record("splitter_accuracy", good))


if __name__ == "__main__":
    main()
