"""The demo's corpus: what is planted is what it says, the same on every machine."""

import json
from collections import Counter
from pathlib import Path

from demo import corpus


def test_planted_rows_are_what_they_say(tmp_path: Path) -> None:
    path, planted = corpus.write_corpus(tmp_path / "one")
    kinds = [row.kind for row in planted]
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["text"] for row in rows] == [row.text for row in planted]
    assert len(rows) == corpus.N_GOOD + corpus.N_EACH * len(corpus.DAMAGE)
    assert Counter(kinds) == {"good": corpus.N_GOOD, **dict.fromkeys(corpus.DAMAGE, corpus.N_EACH)}
    texts = {kind: [row["text"] for row, is_a in zip(rows, kinds, strict=True) if is_a == kind] for kind in set(kinds)}
    good = set(texts["good"])
    assert set(texts["exact copy"]) <= good
    assert not good & set(texts["near copy"] + texts["shuffled words"] + texts["boilerplate"])
    words = {tuple(sorted(text.split())) for text in good}
    assert all(tuple(sorted(text.split())) in words for text in texts["shuffled words"])
    # no field but the text tells a scorer what a row is
    assert {tuple(row) for row in rows} == {("id", "text")}


def test_the_corpus_is_reproducible(tmp_path: Path) -> None:
    (one, rows), (two, again) = (corpus.write_corpus(tmp_path / name) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert rows == again


def test_of_two_exact_copies_the_one_that_stays_is_the_good_one() -> None:
    rows = [
        corpus.Row("good", "a"),
        corpus.Row("exact copy", "a"),
        corpus.Row("good", "b"),
        corpus.Row("near copy", "c"),
    ]
    assert corpus.dropped_by_kind(rows, {0}) == {"exact copy": 1}
    assert corpus.dropped_by_kind(rows, {1}) == {"exact copy": 1}
    assert corpus.dropped_by_kind(rows, {0, 1, 2}) == {"good": 2, "exact copy": 1}
    assert corpus.dropped_by_kind(rows, {3}) == {"near copy": 1}
