"""Contamination: by hand, against sets of n-grams, and which evaluation set it was."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch, Source, score
from datapruner.scorers.contamination import Contamination
from tests.datapruner.conftest import write_jsonl


def batch_of(texts: list[str]) -> Batch:
    return Batch(np.arange(len(texts)), [f"u{i}" for i in range(len(texts))], texts)


def found(scorer: Contamination, texts: list[str]) -> tuple[list[float], dict[str, np.ndarray]]:
    state, batch = scorer.fit([]), batch_of(texts)
    return scorer.checked(batch, state).tolist(), scorer.details(batch, state)


def words(first: int, last: int) -> str:
    return " ".join(f"w{i}" for i in range(first, last))


def test_share_of_covered_tokens_by_hand(tmp_path: Path) -> None:
    folder = tmp_path / "sets"
    folder.mkdir()
    write_jsonl(folder / "a.jsonl", [{"text": "What is the capital of France?"}, {"text": "Yes or no?"}])
    write_jsonl(folder / "b.jsonl", [{"text": words(100, 120)}, {"text": words(0, 30)}])
    scores, details = found(
        Contamination(against=str(folder)),
        [
            f"x {words(0, 13)} y z",
            # 14 words of it are two n-grams that overlap
            f"{words(5, 19)} {words(200, 206)}",
            f"{words(0, 12)} nothing of thirteen words",
            "so: what IS the capital of france. yes or no",
            words(100, 120),
            "",
        ],
    )
    np.testing.assert_allclose(scores, [13 / 16, 14 / 20, 0, 6 / 10, 1, 0])
    assert details["set"].tolist() == ["b.jsonl", "b.jsonl", "", "a.jsonl", "b.jsonl", ""]
    assert details["example"].tolist() == [1, 1, -1, 0, 0, -1]


def test_the_8_grams_of_llama(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"question": words(0, 20)}])
    scorer = Contamination(against=str(path), against_text="question", ngram=8)
    assert found(scorer, [f"{words(0, 8)} x y", f"{words(0, 7)} x y z"])[0] == pytest.approx([0.8, 0])


def test_what_many_examples_share_is_boilerplate(tmp_path: Path) -> None:
    head = words(0, 13)
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": f"{head} {words(i * 100, i * 100 + 14)}"} for i in range(1, 13)])
    assert found(Contamination(against=str(path)), [head, words(300, 313)])[0] == [0, 1]
    assert found(Contamination(against=str(path), most_examples=12), [head])[0] == [1]


def test_scripts_without_spaces_and_points(tmp_path: Path) -> None:
    question = "ประเทศไทยมีเมืองหลวงชื่อว่าอะไรและตั้งอยู่ริมแม่น้ำสายใด"
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": question}, {"text": "مَا هِيَ عَاصِمَةُ فَرَنْسَا الْيَوْمَ"}])
    scores, _ = found(Contamination(against=str(path)), [f"ก{question}ข", "ما هي عاصمة فرنسا اليوم", question[:20]])
    assert scores[0] > 0.9
    assert scores[1:] == [1, 0]


def slow(texts: list[str], examples: list[str], n: int) -> list[float]:
    """By sets of tuples, word by word."""
    known = {tuple(words[i : i + n]) for words in map(str.split, examples) for i in range(len(words) - n + 1)}
    shares = []
    for words_of in map(str.split, texts):
        covered = [False] * len(words_of)
        for i in range(len(words_of) - n + 1):
            if tuple(words_of[i : i + n]) in known:
                covered[i : i + n] = [True] * n
        shares.append(sum(covered) / len(words_of))
    return shares


def test_against_sets_of_ngrams(tmp_path: Path) -> None:
    draw = random.Random(0)
    examples = [" ".join(draw.choices("abcd", k=30)) for _ in range(40)]
    texts = [" ".join(draw.choices("abcd", k=draw.randint(1, 60))) for _ in range(100)]
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in examples])
    scores, _ = found(Contamination(against=str(path), ngram=6), texts)
    expected = slow(texts, examples, 6)
    assert len({share for share in expected if 0 < share < 1}) > 20
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_in_a_table_and_refused_before_it(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"text": words(0, 20)}, {"text": "of its own"}])
    sets = write_jsonl(tmp_path / "eval.jsonl", [{"text": words(0, 14)}])
    table = score(Source(corpus), f"contamination:against={sets}", tmp_path / "t")
    np.testing.assert_allclose(table.scores("contamination"), [0.7, 0])
    assert table.read("contamination", "set").to_pylist() == ["eval.jsonl", ""]
    for wrong, message in (
        ("contamination", "contamination.against: want the path"),
        ("contamination:ngram=0", "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            score(Source(corpus), wrong, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
