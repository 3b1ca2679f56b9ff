"""The benchmark of passage quality: what is planted, and shares counted by hand."""

import numpy as np

from benchmarks.passage_quality import Index, measured, planted
from contextpruner import Example

TEXT = "The dome is by Filippo. Rain fell on the town. Bread was baked in it. All of them were glad."


def test_a_fifth_of_the_index_is_junk_and_gold_is_what_answers() -> None:
    examples = [Example("Whose dome?", [TEXT], [[(15, 22)]]), Example("What fell?", [TEXT], [[(24, 28)]])]
    index = planted(examples)
    assert len(index.passages) == 5
    assert index.passages[:4] == [sentence + "." for sentence in TEXT.rstrip(".").split(". ")]
    assert index.gold.tolist() == [True, True, False, False, False]
    assert index.junk.tolist() == [False, False, False, False, True]
    assert planted(examples).passages == index.passages


def test_shuffled_copies_have_the_words_of_a_passage() -> None:
    text = " ".join(f"Word{number} stands in a sentence of six." for number in range(16))
    index = planted([Example("Which?", [text], [[(0, 5)]])])
    words = {tuple(sorted(passage.split())) for passage in index.passages[:16]}
    assert [tuple(sorted(passage.split())) in words for passage in index.passages[16:]] == [True, True, False, False]


def test_shares_by_hand() -> None:
    passages = ["a b", "a a a a", "a b c d", "a a b b"]
    index = Index(passages, np.array([True, False, True, False]), np.array([False, True, False, False]))
    # 1, 1/4, 1, 1/2 of the terms are distinct
    row = measured("tiny", "itn", "unique_terms", index)
    assert row.gold_kept == {"0.75": 1, "0.5": 1, "0.25": 0.5}
    assert row.junk_kept == {"0.75": 0, "0.5": 0, "0.25": 0}
    assert (row.passages, row.gold, row.junk, row.measure) == (4, 2, 1, "itn")
