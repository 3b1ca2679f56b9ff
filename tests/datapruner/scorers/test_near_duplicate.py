"""MinHash near duplicates: against brute force, in any order, in any script."""

from __future__ import annotations

import random

import numpy as np
import pytest

from datapruner import Batch
from datapruner.scorers import _minhash
from datapruner.scorers.near_duplicate import NearDuplicate


def batch_of(texts: list[str], uids: list[str] | None = None) -> Batch:
    return Batch(np.arange(len(texts)), uids or [f"u{i}" for i in range(len(texts))], texts)


def scores(texts: list[str], uids: list[str] | None = None, scorer: NearDuplicate | None = None) -> np.ndarray:
    scorer = scorer or NearDuplicate()
    batch = batch_of(texts, uids)
    return scorer.checked(batch, scorer.fit([batch]))


def test_shingles_by_hand() -> None:
    assert _minhash.shingles("The cat, the CAT sat.", 2) == ["the cat", "cat the", "the cat", "cat sat"]
    assert _minhash.shingles("Short", 3) == ["short"]
    assert _minhash.shingles("", 3) == [""]
    assert _minhash.shingles("!? !", 2) == ["! ?", "? !"]
    assert _minhash.shingles("猫が好き", 3) == ["猫 が 好", "が 好 き"]
    assert _minhash.shingles("แมวดี", 4) == ["แ ม ว ด", "ม ว ด ี"]
    assert _minhash.shingles("AI猫cafe\u0301", 3) == ["ai 猫 café"]


def test_similarity_by_hand() -> None:
    a = "one two three four five six seven eight"
    found = scores([a, a, a + " nine ten", "quite another text of words"])
    # the longest of the three is first; the two equal ones have 6 of its 8 shingles
    assert found[2] == 1
    assert found[3] == 1
    assert sorted(found[:2]) == [0, found[:2].max()]
    assert abs(found[:2].max() - 0.25) < 0.15


def test_exactly_one_of_a_set_of_duplicates_stays() -> None:
    draw = random.Random(0)
    words = [f"w{i}" for i in range(1000)]
    texts = [" ".join(draw.choices(words, k=30)) for _ in range(20)]
    for copies in (2, 5, 100):
        found = scores(texts + [texts[7]] * (copies - 1))
        assert (found == 0).sum() == copies - 1
        assert (found > 0.9).sum() == 20


@pytest.mark.parametrize("empty", ["", " \n", "\u200b"])
def test_texts_without_words(empty: str) -> None:
    found = scores([empty, empty, "!!!", "!!!", "???", "🙂🙂", "some words are here"])
    assert sorted(found[:2]) == [0, 1]
    assert sorted(found[2:4]) == [0, 1]
    assert (found[4:] == 1).all()


def test_scripts_without_spaces() -> None:
    text = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた"
    found = scores([text, text.replace("猫", "犬"), "国境の長いトンネルを抜けると雪国であった。夜の底が白くなった。"])
    assert found[2] == 1
    assert sorted(found[:2])[0] < 0.25


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


def brute_force(texts: list[str], size: int) -> np.ndarray:
    """The largest exact Jaccard similarity to a row before it, longest first; lengths are made unequal."""
    sets = [set(_minhash.shingles(text, size)) for text in texts]
    found = np.zeros(len(texts))
    for i, own in enumerate(sets):
        for j, other in enumerate(sets):
            if len(texts[j]) > len(texts[i]):
                found[i] = max(found[i], len(own & other) / len(own | other))
    return found


def test_against_brute_force() -> None:
    # one more word each, of a length that makes the canonical order that of the list
    texts = [f"{text} {'z' * (2000 - len(text) - i)}" for i, text in enumerate(_family(random.Random(5), 150))]
    exact, estimated = brute_force(texts, 3), 1 - scores(texts)
    # an estimate over 128 places has a standard deviation of at most 0.044
    found = estimated > 0
    assert np.abs(exact - estimated)[found].max() < 4 * 0.044
    assert found[exact >= 0.5].mean() > 0.9
    near, flagged = exact >= 0.8, estimated >= 0.8
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
    assert (found > 0.5).sum() <= 5
    assert found[-1] == 1


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


def test_of_equally_near_rows_the_first_is_named() -> None:
    signed = np.array([[1, 1, 5, 5], [7, 7, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2]], dtype=np.uint32)
    for order, equal, nearest in (
        ([0, 1, 2, 3], [0, 0, 2, 4], [-1, -1, 0, 2]),
        ([1, 0, 3, 2], [0, 0, 4, 2], [-1, -1, 3, 1]),
    ):
        found = _minhash.nearest_before(signed, np.array(order), bands=2)
        assert (found[0].tolist(), found[1].tolist()) == (equal, nearest)


def test_names_the_nearest_row() -> None:
    a = "one two three four five six seven eight"
    scorer, batch = NearDuplicate(), batch_of([a, "nothing of that kind at all", a + " nine"])
    assert scorer.details(batch, scorer.fit([batch]))["nearest_row"].tolist() == [2, -1, -1]


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
    for wrong in (NearDuplicate(words=0), NearDuplicate(bands=30), NearDuplicate(seed=-1)):
        with pytest.raises(ValueError, match="near_duplicate wants"):
            wrong.fit([])
