"""Sentence splitters side by side: characters a second, boundaries found on hand-checked sentences, exactness.

    python -m benchmarks.splitter                      needs requirements/peers.txt
    python -m benchmarks.splitter --characters 20000   a first look; nothing is recorded

Speed is one call on English prose of 4,096 characters, then 16 times that, then 16 times more; a length that would
take a splitter longer than `SECONDS` by its time on the length before is left out. The prose is the marked news
texts, each a paragraph, repeated. Accuracy (`f1`) is the harmonic mean of precision and recall of inner boundaries
over all texts of a set, and by kind of text (marked_sentences says what each set was used for). Exact: the spans
follow each other and leave out nothing but white space; partition: they join to the text itself, character by
character. What is recorded: `splitter`, a row for each splitter, and `splitter_kinds`, a row for each kind of text.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass

from benchmarks.harness import measure, record, require_green
from benchmarks.marked_sentences import LANGUAGES, SETS, Cut, Found, MarkedText, compare, read
from benchmarks.splitter_peers import Peer, Splitter, all_peers, is_exact, partitions

LENGTHS = (4096, 65_536, 1_048_576)
SECONDS = 30
TESTS = (
    "tests/contextpruner/units/test_splitting.py",
    "tests/contextpruner/units/test_splitting_time.py",
    "tests/contextpruner/units/test_marked_sentences.py",
    "tests/contracts/test_splitters.py",
)

# the texts of each kind, for each set
Sets = dict[str, dict[str, list[MarkedText]]]


@dataclass(frozen=True)
class Row:
    """One splitter: characters a second by length, accuracy by set, texts of all sets and how many spans are whole."""

    splitter: str
    per_second_4_k: float | None
    per_second_64_k: float | None
    per_second_1_M: float | None  # noqa: N815
    f1_tuned: float | None
    f1_dev: float | None
    f1_held_out: float | None
    texts: int
    exact: int
    partition: int


def prose(texts: list[MarkedText], n_characters: int) -> str:
    """So many characters of the news texts, paragraph after paragraph."""
    once = "\n\n".join(item.text.strip() for item in texts) + "\n\n"
    return (once * (n_characters // len(once) + 1))[:n_characters]


def speeds(peer: Peer, texts: list[MarkedText], longest: int) -> list[float]:
    """Characters a second of one call on each of `LENGTHS` that is not left out."""
    found: list[float] = []
    cut = peer.make("en")
    for length in LENGTHS:
        # a splitter that is worse than linear may take longer still, and is stopped at the length after
        if length > longest or (found and length / found[-1] > SECONDS):
            break
        text = prose(texts, length)
        found.append(1e3 * length / measure(cut, [(text,)], warmup=1, repeats=5000, seconds=3).p50)
    return found


def found_by(peer: Peer, sets: Sets) -> dict[tuple[str, str], Found]:
    """Boundaries by set and kind."""
    return {
        (name, kind): compare(_ends(peer.make(LANGUAGES.get(kind, "en"))), texts)
        for name, kinds in sets.items()
        for kind, texts in kinds.items()
    }


def row(peer: Peer, fast: list[float], found: dict[tuple[str, str], Found], sets: Sets) -> Row:
    f1 = {}
    for name in SETS:
        counts = [counted for (own, _), counted in found.items() if own == name]
        f1[name] = Found(*map(sum, zip(*counts, strict=True))).f1 if counts else None
    spans = [(item.text, peer.make(language)(item.text)) for language, item in _all_texts(sets)]
    exact, partition = (sum(check(*pair) for pair in spans) for check in (is_exact, partitions))
    short, middle, long = itertools.islice(itertools.chain(fast, itertools.repeat(None)), len(LENGTHS))
    return Row(
        splitter=peer.version,
        per_second_4_k=short,
        per_second_64_k=middle,
        per_second_1_M=long,
        f1_tuned=f1["tuned"],
        f1_dev=f1["dev"],
        f1_held_out=f1["held out"],
        texts=len(spans),
        exact=exact,
        partition=partition,
    )


def kind_rows(found: dict[str, dict[tuple[str, str], Found]]) -> list[object]:
    """One row for each set and kind: boundaries, and the accuracy of every splitter."""
    fields = [("set", str), ("kind", str), ("boundaries", int), *((name, float) for name in found)]
    made = make_dataclass("KindRow", fields, frozen=True)
    first = next(iter(found.values()))
    return [made(*key, first[key].marked, *(counted[key].f1 for counted in found.values())) for key in first]


def _ends(cut: Splitter) -> Cut:
    return lambda text: [end for _, end in cut(text)]


def _all_texts(sets: Sets) -> Iterator[tuple[str, MarkedText]]:
    for kinds in sets.values():
        for kind, texts in kinds.items():
            for item in texts:
                yield LANGUAGES.get(kind, "en"), item


def main() -> None:
    """Print both tables; append the record."""
    parser = argparse.ArgumentParser(description="Sentence splitters: speed, accuracy, exactness.")
    parser.add_argument("--characters", type=int, default=max(LENGTHS), help="the longest text that is timed")
    options = parser.parse_args()
    require_green(TESTS)
    sets = {name: read(folder) for name, folder in SETS.items()}
    rows: list[Row] = []
    found: dict[str, dict[tuple[str, str], Found]] = {}
    for peer in all_peers():
        try:
            fast = speeds(peer, sets["tuned"]["news"], options.characters)
        except ImportError as error:
            print(f"{peer.name}: skipped, {error}", flush=True)
            continue
        found[peer.name] = found_by(peer, sets)
        rows.append(row(peer, fast, found[peer.name], sets))
        print(rows[-1], flush=True)
    by_kind = kind_rows(found)
    print(*by_kind, sep="\n")
    if options.characters >= max(LENGTHS):
        print(record("splitter", rows))
        print(record("splitter_kinds", by_kind))


if __name__ == "__main__":
    main()
