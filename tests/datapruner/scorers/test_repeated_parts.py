"""line_duplicate and substring_duplicate: by hand, and against counting."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from datapruner import Batch, Scorer
from datapruner.scorers import _repeated
from datapruner.scorers.line_duplicate import LineDuplicate
from datapruner.scorers.substring_duplicate import SubstringDuplicate


def scores(texts: list[str], scorer: Scorer) -> list[float]:
    batch = Batch(np.arange(len(texts)), [f"u{i}" for i in range(len(texts))], texts)
    scorer.check()
    return scorer.checked(batch, scorer.fit([batch])).tolist()


def test_lines_by_hand() -> None:
    texts = ["Home | News\nown words\n", "HOME, news!\r\nother text here\n\n---", "once\nonce\n \n", ""]
    np.testing.assert_allclose(scores(texts, LineDuplicate()), [8 / 16, 8 / 24, 0, 0])
    assert scores(texts, LineDuplicate(rows=3)) == [0, 0, 0, 0]


def test_passages_by_hand() -> None:
    texts = ["a b c d x y z", "q A, B c D", "e f e f e f", "b c"]
    # three words: "a b c" and "b c d" twice; "e f e" and "f e f" twice in one row
    np.testing.assert_allclose(scores(texts, SubstringDuplicate(words=3)), [4 / 7, 4 / 5, 1, 0])
    np.testing.assert_allclose(scores(texts, SubstringDuplicate(words=5)), [0, 0, 0, 0])


@pytest.mark.parametrize("waiting", [20, 1 << 24])
def test_against_counting(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_repeated, "MOST_WAITING", waiting)
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcdefgh", k=draw.randint(1, 12))) for _ in range(60)]
    split = [text.split() for text in texts]
    counts = Counter(tuple(words[i : i + 4]) for words in split for i in range(len(words) - 3))
    expected = []
    for words in split:
        covered = [False] * len(words)
        for i in range(len(words) - 3):
            if counts[tuple(words[i : i + 4])] > 1:
                covered[i : i + 4] = [True] * 4
        expected.append(sum(covered) / len(words))
    assert sum(0 < share < 1 for share in expected) > 5
    np.testing.assert_allclose(scores(texts, SubstringDuplicate(words=4)), expected, atol=1e-6)
    lines = ["\n".join(draw.choices(["aa", "b b", "ccc", *map(str, range(100))], k=5)) for _ in range(60)]
    rows = Counter(line for text in lines for line in set(text.split("\n")))
    shares = []
    for text in lines:
        lengths = {line: len(line.replace(" ", "")) for line in text.split("\n")}
        total = sum(lengths[line] for line in text.split("\n"))
        shares.append(sum(lengths[line] for line in text.split("\n") if rows[line] >= 3) / total)
    np.testing.assert_allclose(scores(lines, LineDuplicate(rows=3)), shares, atol=1e-6)


def test_refuses_fields_that_cannot_work() -> None:
    for wrong in (LineDuplicate(rows=1), SubstringDuplicate(words=0)):
        with pytest.raises(ValueError, match="wants"):
            wrong.check()
