"""MinHash near duplicates: against brute force, in any order, in any script."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch
from datapruner.corpus.uids import SeenHashes, content_uids
from datapruner.scorers._words import words
from datapruner.scorers.near_duplicate import NearDuplicate
from datapruner.scoring.workspace import Workspace
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.scorers.slow_links import slow_links


def batch_of(texts: list[str], uids: list[str] | None = None) -> Batch:
    return Batch(np.arange(len(texts)), uids or [f"u{i}" for i in range(len(texts))], texts)


def scores(texts: list[str], uids: list[str] | None = None, scorer: NearDuplicate | None = None) -> np.ndarray:
    scorer = scorer or NearDuplicate()
    batch = batch_of(texts, uids)
    return scorer.checked(batch, scorer.fit([batch]))


def test_similarity_by_hand() -> None:
    a = "one two three four five six seven eight"
    found = scores([a, a, a + " nine ten", "quite another text of words"])
    # the longest of the three is first; the two equal ones have 4 of its 6 n-grams
    assert found[2] == found[3] == 0
    assert sorted(found[:2]) == [found[:2].min(), 1]
    assert abs(found[:2].min() - 4 / 6) < 3 * 0.044


def test_exactly_one_of_a_set_of_duplicates_stays() -> None:
    draw = random.Random(0)
    words = [f"w{i}" for i in range(1000)]
    texts = [" ".join(draw.choices(words, k=30)) for _ in range(20)]
    for copies in (2, 5, 100):
        found = scores(texts + [texts[7]] * (copies - 1))
        assert (found == 1).sum() == copies - 1
        assert (found < 0.1).sum() == 20


@pytest.mark.parametrize("empty", ["", " \n", "\u200b"])
def test_texts_without_words(empty: str) -> None:
    found = scores([empty, empty, "!!!", "!!!", "???", "🙂🙂", "some words are here"])
    assert sorted(found[:2]) == [0, 1]
    assert sorted(found[2:4]) == [0, 1]
    assert (found[4:] == 0).all()


def test_scripts_without_spaces() -> None:
    text = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた"
    found = scores([text, text.replace("猫", "犬"), "国境の長いトンネルを抜けると雪国であった。夜の底が白くなった。"])
    assert found[2] == 0
    # the third letter of 49 stands in 3 of the 40 runs of 10
    assert len(words(text)) == 49
    assert abs(found[:2].max() - 37 / 43) < 3 * 0.044


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [
        ("यह मेल है", "यह माल है", 0),
        ("हिन्दी में लिखा हुआ एक वाक्य", "हिन्दी मे लिखा हुआ एक वाक्य", 0),
        ("كِتَابٌ جَدِيدٌ عَلَى الطَّاوِلَةِ", "كتاب جديد على الطاولة", 1),
        ("מַחְשֵׁב חָדָשׁ עַל הַשֻּׁלְחָן", "מחשב חדש על השלחן", 1),
        ("می\u200cخواهم بروم", "میخواهم بروم", 1),
        ("cafe\u0301 Straße ﬁn", "CAFÉ STRASSE fin", 1),
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width", 1),
    ],
)
def test_the_same_words_in_other_bytes(one: str, other: str, similarity: float) -> None:
    assert scores([one, other]).max() == similarity


def test_unrelated_long_texts_without_spaces_are_not_alike() -> None:
    # 40 letters make up a text of 4,000, as the letters of one script do
    draw = random.Random(0)
    for letters in (range(0x0E01, 0x0E2F), range(0x3042, 0x3090, 2), range(0x1780, 0x17A3)):
        weights = [1 / (place + 1) for place in range(len(letters))]
        texts = ["".join(map(chr, draw.choices(letters, weights, k=4000))) for _ in range(4)]
        assert scores(texts).max() < 0.05
        assert scores([texts[0], texts[0][:2000] + texts[0][2001:]]).max() > 0.95


def _family(draw: random.Random, n: int) -> list[str]:
    """Texts and copies of them with 0 to 12 words of 60 exchanged."""
    words = [f"w{i}" for i in range(3000)]
    texts = []
    for _ in range(n):
        base = draw.choices(words, k=60)
        for changes in (0, 1, 2, draw.randint(4, 12)):
            copy = list(base)
            for _ in range(changes):
                copy[draw.randrange(60)] = draw.choice(words)
            texts.append(" ".join(copy))
    draw.shuffle(texts)
    return texts


def brute_force(texts: list[str], n: int) -> np.ndarray:
    """The exact Jaccard similarity [m, m] of all pairs."""
    sets = [{" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} for words in map(str.split, texts)]
    return np.array([[len(a & b) / len(a | b) if a is not b else 0 for a in sets] for b in sets])


def test_against_brute_force() -> None:
    # one more word each, of a length that makes the canonical order that of the list
    texts = [f"{text} {'z' * (2000 - len(text) - i)}" for i, text in enumerate(_family(random.Random(5), 110))]
    exact = slow_links(brute_force(texts, 3), [*range(len(texts))], "triangular", 0.8)
    estimated = scores(texts, scorer=NearDuplicate(ngram=3, semantics="triangular"))
    # an estimate over 128 places has a standard deviation of at most 0.044
    found = estimated > 0
    assert np.abs(exact - estimated)[found].max() < 4 * 0.044
    assert found[exact >= 0.5].mean() > 0.9
    near, flagged = exact > 0.8, estimated > 0.8
    assert near.sum() > 100
    # what is further than two standard deviations from 0.8 must fall on its own side
    clear = np.abs(exact - 0.8) > 0.07
    assert (near & clear).sum() > 80
    assert (near & flagged & clear).sum() / (near & clear).sum() > 0.97
    assert (near & flagged & clear).sum() / (flagged & clear).sum() > 0.97
    assert (near & flagged).sum() / near.sum() > 0.85
    assert (near & flagged).sum() / flagged.sum() > 0.85


def test_large_buckets_are_compared_within_a_window() -> None:
    # one boilerplate in 400 texts of unequal tails: every bucket is longer than the window
    draw = random.Random(0)
    boiler = " ".join(f"b{i}" for i in range(40))
    texts = [f"{boiler} {' '.join(draw.choices('abcdefgh', k=3))} {'y' * i}" for i in range(400)]
    found = scores(texts)
    assert (found < 0.5).sum() <= 5
    assert found[-1] == 0


def test_order_of_rows_changes_nothing() -> None:
    draw = random.Random(1)
    texts = _family(draw, 60)
    uids = [f"u{i}" for i in range(len(texts))]
    expected = dict(zip(uids, scores(texts, uids).tolist(), strict=True))
    assert len({value for value in expected.values() if 0 < value < 1}) > 20
    for seed in range(3):
        order = list(range(len(texts)))
        random.Random(seed).shuffle(order)
        found = scores([texts[i] for i in order], [uids[i] for i in order])
        assert {uids[i]: value for i, value in zip(order, found.tolist(), strict=True)} == expected


def test_names_the_row_for_which_it_goes() -> None:
    a = "one two three four five six seven eight"
    texts = [a, "nothing of that kind at all", a + " nine", a.upper()]
    scorer, batch = NearDuplicate(threshold=0.5), batch_of(texts, ["a", "b", "c", "d"])
    found = scorer.details(batch, scorer.fit([batch]))
    first, second = sorted((0, 3), key=lambda row: int(batch.keys[row]))
    nearest = {first: 2, second: first, 1: -1, 2: -1}
    assert found["nearest_row"].tolist() == [nearest[row] for row in range(4)]
    assert found["nearest_uid"].tolist() == ["" if nearest[row] < 0 else "abcd"[nearest[row]] for row in range(4)]
    assert found["cluster"].tolist() == [2, 1, 2, 2]
    assert found["against_row"].tolist() == [-1] * 4


def test_an_older_corpus_comes_first(tmp_path: Path) -> None:
    a, b = "one two three four five six seven eight", "some other text that has nothing of it"
    path = write_jsonl(tmp_path / "old.jsonl", [{"body": b}, {"body": a}, {"body": a}, {"body": b}])
    scorer = NearDuplicate(against=str(path), against_text="body", threshold=0.5)
    batch = batch_of([a + " nine ten", a, "new words that are nowhere else", a])
    state = scorer.fit([batch])
    found, details = scorer.checked(batch, state), scorer.details(batch, state)
    # rows of the older corpus are not compared with each other, and of equal ones the first is named
    older = int(details["against_row"][1])
    assert older in (1, 2)
    assert found[[1, 3]].tolist() == [1, 1]
    assert abs(found[0] - 4 / 6) < 3 * 0.044
    assert found[2] == 0
    assert details["against_row"].tolist() == [older, older, -1, older]
    assert details["nearest_row"].tolist() == [-1] * 4
    assert details["nearest_uid"][1] == content_uids([a.encode()] * 2, SeenHashes())[older - 1]
    assert details["cluster"].tolist() == [4 + older, 4 + older, 2, 4 + older]
    plain = NearDuplicate(threshold=0.5)
    assert scorer.identity() != plain.identity()
    write_jsonl(tmp_path / "old.jsonl", [{"body": b}])
    assert scorer.identity()["against"] != state
    with pytest.raises(ValueError, match=r"near_duplicate\.against: .*'text'"):
        replace(scorer, against_text="text").check()


def test_the_first_copy_stays_on_request() -> None:
    a = "one two three four five six seven eight"
    texts = [a, a + " nine", a + " nine ten"]
    assert scores(texts, scorer=NearDuplicate(keep="first"))[0] == 0
    assert scores(texts)[2] == 0


def test_a_killed_fit_goes_on(tmp_path: Path) -> None:
    texts = _family(random.Random(2), 30)
    whole = batch_of(texts)
    parts = [Batch(whole.rows[i : i + 7], whole.uids[i : i + 7], texts[i : i + 7]) for i in range(0, len(texts), 7)]

    def killed() -> Iterator[Batch]:
        yield from parts[:9]
        raise KeyboardInterrupt

    workspace = Workspace(tmp_path / "workspace")
    with pytest.raises(KeyboardInterrupt):
        NearDuplicate().fit(killed(), workspace)
    # the rows of the first nine are not asked for again
    rest = [Batch(part.rows, part.uids, [""] * len(part)) for part in parts[:9]] + parts[9:]
    state = NearDuplicate().fit(rest, workspace)
    assert (state["similarity"] == scores(texts)).all()


def test_several_batches_are_one_corpus() -> None:
    texts = _family(random.Random(2), 30)
    whole = batch_of(texts)
    parts = [Batch(whole.rows[i : i + 7], whole.uids[i : i + 7], texts[i : i + 7]) for i in range(0, len(texts), 7)]
    scorer = NearDuplicate()
    state = scorer.fit(parts)
    assert (np.concatenate([scorer.checked(part, state) for part in parts]) == scores(texts)).all()


def test_refuses_fields_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="fit"):
        NearDuplicate().score(batch_of(["a"]))
    for wrong in (
        NearDuplicate(ngram=0),
        NearDuplicate(bands=30),
        NearDuplicate(seed=-1),
        NearDuplicate(threshold=1.0),
    ):
        with pytest.raises(ValueError, match="near_duplicate wants"):
            wrong.fit([])
