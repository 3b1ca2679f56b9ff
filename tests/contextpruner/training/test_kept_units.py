"""What is kept of questions, every number worked by hand, and random deletion of equal length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from contextpruner.decisions.token_counter import estimate_tokens
from contextpruner.documents.document import Document
from contextpruner.training.evaluation.curves import Cut
from contextpruner.training.evaluation.kept import draw_of, kept_at, random_units
from contextpruner.training.evaluation.questions import cut_questions
from contextpruner.training.examples.example import TrainingExample
from tests.contextpruner.training.toy_questions import Toy

# of the first the 10 and 30 characters of its first two units are kept at 0.5, of the second the 40 of its last
FIRST = Toy([0.9, 0.5, 0.1], [1, 0, 1], [10, 30, 60], [2, 5, 13], [4, 0, 20], [[(0, 1), (2, 3)]])
SECOND = Toy([0.2, 0.8], [0, 1], [10, 40], [4, 6], [0, 30], [[(0, 2)]], id="2")


def test_every_number_by_hand() -> None:
    kept, _ = kept_at([FIRST.judged(), SECOND.judged()], Cut(0.5))
    # of all characters of the source; of two sources the mean
    assert kept.removed == pytest.approx(1 - (40 + 40) / (100 + 50))
    assert kept.removed_tokens == pytest.approx(1 - (7 + 6) / (20 + 10))
    other, _ = kept_at([FIRST.judged(), replace(SECOND, source="other").judged()], Cut(0.5))
    assert other.removed == pytest.approx(1 - (40 / 100 + 40 / 50) / 2)
    assert other.removed_tokens == pytest.approx(1 - (7 / 20 + 6 / 10) / 2)
    assert kept.recall == pytest.approx((1 / 2 + 1) / 2)
    assert kept.all_gold == pytest.approx(1 / 2)
    # the answer of the first stands in its first unit, that of the second wants both
    assert kept.retained == pytest.approx(1 / 2)
    # 80 characters are kept, 34 of the 54 of gold spans: P = 34 / 80, R = 34 / 54
    precision, recall = 34 / 80, 34 / 54
    assert kept.span_f2 == pytest.approx(5 * precision * recall / (4 * precision + recall))
    precision, recall = 2 / 3, 2 / 3
    assert kept.unit_f2 == pytest.approx(5 * precision * recall / (4 * precision + recall))


def test_an_answer_stands_where_every_part_of_it_does() -> None:
    def retained(*answers: list[tuple[int, int]]) -> float | None:
        return kept_at([Toy([0.9, 0.8, 0.1], [1, 0, 0], answers=answers).judged()], Cut(0.5))[0].retained

    assert retained([(0, 1)], [(0, 2)]) == 1
    assert retained([(0, 1)], [(1, 3)]) == 0
    # one of its places is enough
    assert retained([(0, 1)], [(1, 3), (1, 2)]) == 1
    assert retained() is None


def test_a_share_of_the_questions_at_a_lower_threshold() -> None:
    toys = [FIRST.judged(), SECOND.judged()]
    (high, _), (low, _) = kept_at(toys, Cut(0.85)), kept_at(toys, Cut(0.2))
    both, _ = kept_at(toys, Cut(0.85, 0.2, 0.25))
    for name in ("removed", "removed_tokens", "recall", "all_gold", "retained"):
        assert getattr(both, name) == pytest.approx(0.75 * getattr(high, name) + 0.25 * getattr(low, name))
    nothing, by_chance = kept_at(toys, Cut(None))
    for one in (nothing, by_chance):
        assert (one.removed, one.recall, one.all_gold, one.retained, one.span_f2) == (1, 0, 0, 0, 0)


def test_random_deletion_is_as_long_and_hangs_on_the_id_alone() -> None:
    toys = [Toy([1.0, 0.0, 0.0, 0.0], [1, 0, 0, 0], id=str(number)).judged() for number in range(200)]
    kept, by_chance = kept_at(toys, Cut(0.5))
    assert kept.recall == 1
    # one unit of four, which is the right one as often
    assert by_chance.removed == pytest.approx(0.75)
    assert by_chance.recall == pytest.approx(0.25, abs=0.03)
    assert kept_at(toys[::-1], Cut(0.5))[1] == by_chance
    sizes = np.array([7, 0, 100, 20, 3])
    drawn = random_units(sizes, 40, 20_000, draw_of(toys[0].question))
    assert (drawn @ sizes).mean() == pytest.approx(40, abs=1)
    # a unit that is longer than all that may be kept is kept at times
    assert 0.05 < drawn[:, 2].mean() < 0.4
    assert not random_units(sizes, 0, 10, draw_of(toys[0].question)).any()
    # of a unit without characters it does not matter
    assert random_units(sizes, 130, 10, draw_of(toys[0].question))[:, sizes > 0].all()


def test_questions_in_units() -> None:
    text = "Nobody came. Ana made the dome. It rained."
    documents = (Document("A boat is a boat. So it is."), Document(text, title="Domes"))
    start = text.index("Ana")
    example = TrainingExample(
        "1", "Who?", documents, ((), ((start, start + 3), (start + 1, start + 8))), "en", "a", "g", form="polite blind"
    )
    (one,) = cut_questions([example], estimate_tokens)
    assert one.gold.tolist() == [False, False, False, True, False]
    assert one.sizes.tolist() == [18, 9, 13, 19, 10]
    assert one.tokens.tolist() == [6, 4, 3, 5, 3]
    # spans that overlap are counted once
    assert one.gold_characters.tolist() == [0, 0, 0, 8, 0]
    assert one.has_gold.tolist() == [False, True]
    assert one.is_blind
    # no answer is known: both spans have to stand
    assert [places.tolist() for places in one.answers] == [[[3, 4]], [[3, 4]]]


def test_where_an_answer_stands() -> None:
    documents = (Document("Ana came. Bo came."), Document("Then Ana came. Nobody else."))
    gold = (((0, 3),), ())
    said = {"Ana": [[0, 1], [2, 3]], "came. Bo": [[0, 2]], "came. Nobody": [[2, 4]]}
    for answer, places in said.items():
        (one,) = cut_questions([TrainingExample("1", "?", documents, gold, "en", "a", "g", answer=answer)], len)
        assert [found.tolist() for found in one.answers] == [places]
    # what stands nowhere, as yes does, is judged by the gold spans
    (one,) = cut_questions([TrainingExample("1", "?", documents, gold, "en", "a", "g", answer="yes")], len)
    assert [found.tolist() for found in one.answers] == [[[0, 1], [2, 3]]]
    with pytest.raises(ValueError, match=r"question q7: want gold characters within \[0, 18\)"):
        cut_questions([TrainingExample("q7", "?", documents, (((0, 99),), ()), "en", "a", "g")], len)
