"""The benchmark of splitters on texts counted by hand."""

import dataclasses

from benchmarks import splitter
from benchmarks.marked_sentences import MarkedText
from benchmarks.splitter_peers import Peer, is_exact, partitions

SETS = {
    "tuned": {"news": [MarkedText("A b. C d. E", (5, 10))], "german": [MarkedText("F. G", (3,))]},
    "dev": {"news": [MarkedText("H. I. J", (3, 6))]},
    "held out": {},
}


def at_spaces(text: str) -> list[tuple[int, int]]:
    """Every word; the space behind it is left out."""
    ends = [place for place, character in enumerate(text) if character == " "] + [len(text)]
    return [(begin, end) for begin, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)]


def test_a_row_holds_what_was_counted() -> None:
    peer = Peer("words", "words 1", lambda language: at_spaces)
    found = splitter.found_by(peer, SETS)
    # four boundaries found, two of them marked; one of one; two of two
    assert found == {("tuned", "news"): (4, 2, 2), ("tuned", "german"): (1, 1, 1), ("dev", "news"): (2, 2, 2)}
    row = splitter.row(peer, [10.0], found, SETS)
    assert dataclasses.astuple(row) == ("words 1", 10.0, None, None, 2 * 3 / 8, 1.0, None, 3, 3, 0)
    kinds = [dataclasses.asdict(kind) for kind in splitter.kind_rows({"words": found})]  # type: ignore[call-overload]
    assert kinds[0] == {"set": "tuned", "kind": "news", "boundaries": 2, "words": 2 / 3}
    assert len(kinds) == 3


def test_prose_is_as_long_as_asked_and_times_are_one_for_each_length() -> None:
    texts = SETS["tuned"]["news"]
    assert splitter.prose(texts, 20) == "A b. C d. E\n\nA b. C "
    peer = Peer("words", "words 1", lambda language: at_spaces)
    assert len(splitter.speeds(peer, texts, 5000)) == 1


def test_exact_and_partition() -> None:
    assert is_exact("a b", [(0, 1), (2, 3)])
    assert not partitions("a b", [(0, 1), (2, 3)])
    assert partitions("a b", [(0, 2), (2, 3)])
    assert not is_exact("a b", [(0, 1)])
    assert not is_exact("a b", [(0, 2), (1, 3)])
