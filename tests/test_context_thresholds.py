"""The benchmark of one threshold for all questions, on numbers small enough to count by hand."""

import numpy as np

from benchmarks.context_recall import Asked, asked
from benchmarks.context_thresholds import apart, at_one_threshold, measured, with_typos
from contextpruner import Example
from contextpruner.labelers.bm25 import Bm25

# four sentences of 20 characters
TEXT = "".join(f"{words:<18}. " for words in ("Florence is old", "Filippo the dome", "It rains", "Bread"))


def item(question: str = "Whose dome?") -> Asked:
    return asked(Example(question, [TEXT], [[(20, 27)]]))


def test_one_threshold_for_two_questions() -> None:
    items = [item(), item()]
    values = [np.array([0.1, 0.9, 0.2, 0.3]), np.array([0.5, 0.4, 0.0, 0.0])]
    # of eight units of equal length the best two are kept at 75 % removed: .9 and .5, so that one gold unit is missed
    assert at_one_threshold(values, items, 0.75) == (0.5, 0.5)
    assert at_one_threshold(values, items, 0.5) == (1, 0.3)


def test_equal_numbers_are_kept_together() -> None:
    assert at_one_threshold([np.array([0.5, 0.5, 0.5, 0.1])], [item()], 0.5) == (0, 1)
    assert at_one_threshold([np.array([0.5, 0.5, 0.5, 0.1])], [item()], 0.25) == (1, 0.5)


def test_apart_is_the_area_under_the_curve() -> None:
    own, other = [np.array([0.9]), np.array([0.4])], [np.array([0.1, 0.5]), np.zeros(0)]
    assert apart(own, other) == 0.75
    assert apart(own, own) == 0.5


def test_a_row_of_bm25() -> None:
    row = measured("tiny", "bm25", Bm25(), [item(), item("What of bread?")])
    assert row.n == 2
    # both questions' best units have one number: 25 % of the characters
    assert row.recall == row.polite == {"0.7": 0.5, "0.8": 0}
    assert row.apart == 0.5


def test_typos_are_in_the_two_longest_words() -> None:
    assert with_typos("Who designed the large dome?") == "Who desgined the lrage dome?"
    assert with_typos("Who?") == "Who?"
