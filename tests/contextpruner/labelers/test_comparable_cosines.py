"""Cosines on one scale: worked by hand, whatever is asked how, in any order, and where nothing answers."""

import numpy as np
import pytest

from contextpruner import Document, SplitDocument, split
from contextpruner.labelers._comparable_cosines import comparable
from contextpruner.labelers.bi_encoder import BiEncoder
from contextpruner.labelers.late_interaction import STOP_WORD, LateInteraction, _weights
from tests.contextpruner.labelers.scale_of_cosines import on_one_scale


def documents(*texts: str) -> list[SplitDocument]:
    return [SplitDocument(Document(text), tuple(split(text))) for text in texts]


def scaled(*rows: list[float], texts: tuple[str, ...] = ("One. Two. Three.",), unrelated: float = 0.2) -> np.ndarray:
    cosines = [np.array(row, dtype=np.float32) for row in rows]
    return np.concatenate(comparable(cosines, documents(*texts), unrelated))


def test_by_hand() -> None:
    # the mean is 0.4, and what is common to all 0.34; at 0.6 the best one is far above what says nothing
    got = scaled([0.6, 0.4, 0.2])
    answers = 0.6**6 / (0.6**6 + 0.2**6)
    np.testing.assert_allclose(got, [0.26 / 0.28 * answers, 0.06 / 0.28 * answers, 0], atol=1e-6)
    np.testing.assert_allclose(got, on_one_scale([0.6, 0.4, 0.2]), atol=1e-6)
    assert got.dtype == np.float32


def test_what_all_units_have_in_common_tells_nothing() -> None:
    short, polite = scaled([0.9, 0.7, 0.5]), scaled([0.6, 0.4, 0.2])
    assert short[0] == pytest.approx(polite[0], abs=0.02)
    # of two documents as of one
    two = scaled([0.9, 0.7], [0.5], texts=("One. Two.", "Three."))
    np.testing.assert_array_equal(two, short)


def test_nothing_here_is_relevant() -> None:
    # at `unrelated` half of what is near stays, and far below it nearly nothing
    np.testing.assert_allclose(scaled([0.2, 0.1, 0.0]), np.array(on_one_scale([0.2, 0.1, 0.0], 0)) / 2, atol=1e-6)
    assert scaled([0.1, 0.05, 0.02]).max() < 0.02
    assert scaled([0.5, 0.1, 0.1]).max() > 0.9
    assert scaled([0.0, -0.3, 0.0]).tolist() == [0, 0, 0]
    # a model whose cosines are all high says what of them is unrelated
    assert scaled([0.7, 0.69, 0.69]).max() > 0.75
    assert scaled([0.7, 0.69, 0.69], unrelated=0.8).max() < 0.3


def test_a_heading_that_hands_nothing_on_is_no_measure() -> None:
    bare = "Dome.\n\n## Dome\n"
    got = np.concatenate(comparable([np.float32([0.5, 0.9])], documents(bare), 0.2))
    assert got[0] == pytest.approx(on_one_scale([0.5])[0], abs=1e-6)


def test_the_order_changes_no_bit() -> None:
    draw = np.random.default_rng(0)
    cut = documents(*(f"One {number}. Two. Three." for number in range(40)))
    rows = [draw.random(len(one.units)).astype(np.float32) for one in cut]
    there = comparable(rows, cut, 0.2)
    for turn in range(1, 40):
        back = comparable(rows[turn:] + rows[:turn], cut[turn:] + cut[:turn], 0.2)
        np.testing.assert_array_equal(np.concatenate(back[-turn:] + back[:-turn]), np.concatenate(there))


def test_tokens_of_stop_words_weigh_less() -> None:
    question = "Who designed the dome?"
    offsets = np.array([[0, 3], [4, 10], [10, 12], [13, 16], [17, 21], [21, 22]])
    weights = np.array([STOP_WORD, 1, 1, STOP_WORD, 1, STOP_WORD])
    np.testing.assert_allclose(_weights(question, offsets), weights / weights.sum(), rtol=1e-6)
    # where nothing but stop words is asked all weigh the same
    np.testing.assert_allclose(_weights("Who is who", np.array([[0, 3], [4, 6], [7, 10]])), [1 / 3] * 3, rtol=1e-6)
    assert _weights("", np.zeros((0, 2), np.int64)).tolist() == []


@pytest.mark.parametrize("kind", [BiEncoder, LateInteraction])
def test_a_scale_that_is_none_is_refused(kind: type) -> None:
    for unrelated in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"wants unrelated in \[0, 1\)"):
            kind(unrelated=unrelated)
