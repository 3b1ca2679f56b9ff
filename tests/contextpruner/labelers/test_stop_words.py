"""Questions without their function words, read in one language."""

import pytest

from contextpruner import ContextPruner
from contextpruner.labelers._stop_words import without_stop_words
from contextpruner.units.terms import terms


@pytest.mark.parametrize(
    ("question", "left"),
    [
        ("Who engineered the dome?", "engineered dome"),
        # German for "was", and "the": an English question keeps both
        ("What did the war die of?", "war die"),
        ("Wann war das Jahr der Wende?", "jahr wende"),
        ("Combien de visiteurs à Paris ?", "visiteurs paris"),
        ("¿Cuántas personas viven en Madrid?", "personas viven madrid"),
        ("Сколько людей живёт в Москве?", "людей живёт москве"),
        ("What is it?", "what is it"),
        ("", ""),
        ("杜甫在哪里?", "杜甫 甫在 在哪 哪里"),
    ],
)
def test_what_is_left_of_a_question(question: str, left: str) -> None:
    assert without_stop_words(terms(question)) == left.split()


def test_the_rarest_function_word_outweighs_nothing() -> None:
    text = "The cathedral was begun in 1296. Its dome was engineered by Brunelleschi. Tickets cost 30 euros."
    question = "Who engineered the dome in the city, and how many came?"
    kept = ContextPruner("bm25").prune(question, [text], threshold=0.1).documents[0]
    assert [span.kept for span in kept.spans] == [True, True, False]
    assert [span.reason for span in kept.spans] == ["antecedent", "threshold", "below_threshold"]
    worse = ContextPruner("bm25:use_function_words=true").prune(question, [text], threshold=0.1).documents[0]
    assert worse.spans[1].probability < kept.spans[1].probability
