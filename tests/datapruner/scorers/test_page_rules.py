"""Page rules: each constant on both sides by hand, word repetition against a slow count, names of what fails."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from datapruner import Batch
from datapruner.scorers._word_repetition import repetition
from datapruner.scorers.rules import Rules

GOOD = (
    "The museum of the city opened to the public in the spring of that year, and visitors have come ever since. "
    "It shows paintings that were made between two wars, with letters of those who owned them.\n"
    "Most of its rooms face the river. A guide explains how the collection grew, and which of the works were lost. "
    "Schools have their own hours, when nobody else is there to be disturbed by questions."
)


def failed(text: str, sets: str = "gopher+gopher_repetition+c4+fineweb") -> set[str]:
    scorer, batch = Rules(sets), Batch(np.arange(1), ["u"], [text])
    scorer.check()
    names = set(filter(None, str(scorer.details(batch)["failed"][0]).split(",")))
    assert float(scorer.checked(batch)[0]) == pytest.approx(1 - len(names) / (27 if "+" in sets else 8))
    return names


def words(n: int) -> list[str]:
    """Unlike words of seven letters; two are stop words."""
    return [
        "the",
        "and",
        *(f"w{'abcdefghij'[i // 100]}{'abcdefghij'[i // 10 % 10]}{'abcdefghij'[i % 10]}xyz" for i in range(n - 2)),
    ]


def test_a_good_page_passes_all() -> None:
    assert failed(GOOD) == set()


@pytest.mark.parametrize(
    ("name", "passes", "fails"),
    [
        ("gopher_words", words(50), words(49)),
        ("gopher_word_length", ["the", "and", *["abcdefghij" * 1] * 60], ["the", "and", *["abcdefghijk"] * 60]),
        ("gopher_hashes", ["#", *words(60)[:54], *"#####"[:4]], ["#" * 7, *words(60)]),
        ("gopher_letters", [*words(80), *["123"] * 20], [*words(79), *["123"] * 21]),
        ("gopher_stop_words", [*words(60)], ["the", "the", *words(60)[2:]]),
        ("gopher_ellipses", ["...", *words(60)], ["......" * 4, *words(60)]),
    ],
)
def test_gopher_by_words(name: str, passes: list[str], fails: list[str]) -> None:
    assert name not in failed(" ".join(passes), "gopher")
    assert name in failed(" ".join(fails), "gopher")


@pytest.mark.parametrize(
    ("name", "line", "allowed"),
    [("gopher_bullets", "• one of the points", 9), ("gopher_ellipsis_lines", "and so it goes on…", 3)],
)
def test_gopher_by_lines(name: str, line: str, allowed: int) -> None:
    other = "a plain line of words"
    assert name not in failed("\n".join([line] * allowed + [other] * (10 - allowed)))
    assert name in failed("\n".join([line] * (allowed + 1) + [other] * (9 - allowed)))


def test_repeated_lines_and_paragraphs() -> None:
    lines = [f"line number {i} here" for i in range(10)]
    # three of ten lines came before
    assert "gopher_repeated_lines" not in failed("\n".join(lines[:7] + lines[:3]))
    assert "gopher_repeated_lines" in failed("\n".join(lines[:6] + lines[:4]))
    # 20 % of the characters, and more
    assert "gopher_repeated_line_characters" not in failed("\n".join(["x" * 20, "x" * 20, *"abcdef", "y" * 54]))
    assert "gopher_repeated_line_characters" in failed("\n".join(["x" * 20, "x" * 20, *"abcdef", "y" * 53]))
    assert "gopher_repeated_paragraphs" in failed("\n\n".join(["one", "one", "two"]))
    assert "gopher_repeated_paragraphs" not in failed("one\none\ntwo\n\nthree")
    assert "gopher_repeated_paragraph_characters" in failed("\n\n".join(["one is long", "one is long", *"abcdef"]))
    # FineWeb allows less than a tenth
    assert "fineweb_repeated_line_characters" in failed("\n".join(["x" * 10, "x" * 10, "y" * 80]))
    assert "fineweb_repeated_line_characters" not in failed("\n".join(["x" * 10, "x" * 10, "y" * 81]))


def test_c4() -> None:
    sentence = "This is one whole sentence. "
    assert "c4_sentences" not in failed(sentence * 3)
    assert "c4_sentences" in failed(sentence * 2)
    # lines that C4 leaves out: four words, no mark, a mark of three dots, a policy, a word beyond all measure
    for line in (
        "Four words. One. Two.",
        "It has no mark at its end",
        "One. Two. Three words then nothing...",
        "See our terms of use. One. Two.",
        "One. Two. You need JavaScript for this page.",
        f"One. Two. Three {'x' * 1001} four five.",
    ):
        assert "c4_sentences" in failed(sentence * 2 + "\n" + line), line
    assert "c4_sentences" not in failed(sentence * 2 + '\nFive words end with a "mark."')
    assert "c4_lorem_ipsum" in failed(sentence * 3 + "Lorem Ipsum.")
    assert "c4_curly_bracket" in failed(sentence * 3 + "{")
    assert not failed(sentence * 3) & {"c4_lorem_ipsum", "c4_curly_bracket"}


def test_fineweb() -> None:
    long = "x" * 30
    # 12 of 100 lines end in a mark: not enough
    assert "fineweb_line_ends" in failed("\n".join([f"{long}."] * 12 + [long] * 88))
    assert "fineweb_line_ends" not in failed("\n".join([f"{long}."] * 13 + [long] * 87))
    assert "fineweb_short_lines" in failed("\n".join([long] * 33 + ["x" * 29] * 67))
    assert "fineweb_short_lines" not in failed("\n".join([long] * 34 + ["x" * 29] * 66))


def test_texts_without_words_have_no_fractions() -> None:
    assert failed("") == failed(" \n ") == {
        "gopher_words", "gopher_word_length", "gopher_letters", "gopher_stop_words", "c4_sentences", "fineweb_line_ends"
    }  # fmt: skip


def slow_top(text: list[str], n: int) -> float:
    counts = Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
    most = max(counts.values(), default=0)
    size = max((sum(map(len, gram)) for gram, count in counts.items() if count == most), default=0)
    return min(1.0, most * size / sum(map(len, text))) if most > 1 else 0.0


def slow_duplicate(text: list[str], n: int) -> float:
    seen, inside = set(), set()
    for i in range(len(text) - n + 1):
        gram = tuple(text[i : i + n])
        if gram in seen:
            inside |= set(range(i, i + n))
        seen.add(gram)
    return sum(len(text[i]) for i in inside) / max(1, sum(map(len, text)))


def test_repetition_agrees_with_a_slow_count() -> None:
    draw = random.Random(0)
    texts = [draw.choices(["a", "bb", "ccc", "dddd"], k=draw.randint(0, 60)) for _ in range(40)]
    texts += [[], ["a"], ["a"] * 30, ["bb", "a"] * 20]
    found = repetition(texts, [2, 3, 4], [5, 6, 7])
    for n in (2, 3, 4):
        assert found[n].tolist() == pytest.approx([slow_top(text, n) for text in texts])
    for n in (5, 6, 7):
        assert found[n].tolist() == pytest.approx([slow_duplicate(text, n) for text in texts])
    assert found[2].max() == 1
    assert 0 < found[5].mean() < 1


def test_repetition_by_hand() -> None:
    # "a b" three times of 9 characters; of the five words that repeat, none is counted twice
    assert repetition([["a", "b", "a", "b", "a", "b", "ccc"]], [2], [3])[2].tolist() == pytest.approx([6 / 9])
    assert repetition([["a", "b", "a", "b", "a", "b", "ccc"]], [2], [3])[3].tolist() == pytest.approx([4 / 9])


def test_refuses_unknown_sets() -> None:
    with pytest.raises(ValueError, match="names joined by '\\+' of gopher, .*, got 'gofer'"):
        Rules("c4+gofer").check()
