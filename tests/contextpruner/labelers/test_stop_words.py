"""Questions without their stop words, read in one language."""

import pytest

from contextpruner import ContextPruner
from contextpruner.labelers._stop_words import LISTS, language_of, question_terms
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
        ("Hello, could you please tell me who built the dome?", "built dome"),
        ("Bitte, könnten Sie mir sagen, wer die Kuppel baute?", "kuppel baute"),
        ("Quali sono le città della Toscana?", "citta toscana"),
        ("Qual é a capital do Brasil?", "capital brasil"),
        ("What did the WHO decide, and who paid?", "who decide paid"),
        ("WHO PAID FOR IT?", "paid"),
        ("", ""),
        ("杜甫在哪里?", "杜甫 甫在 在哪 哪里"),
    ],
)
def test_what_is_left_of_a_question(question: str, left: str) -> None:
    assert question_terms(question) == left.split()


def test_the_language_is_told_by_stop_words_or_script() -> None:
    assert {language_of(terms(" ".join(words))) for words in LISTS.values()} == set(LISTS)
    assert [language_of(terms(text)) for text in ("القبة", "گنبد", "मंदिर", "Ο θόλος", "穹顶", "dome", "")] == [
        "arabic",
        "persian",
        "hindi",
        "greek",
        None,
        None,
        None,
    ]


def test_a_stop_word_makes_no_sentence_relevant() -> None:
    text = "The cathedral was begun in 1296. Its dome was engineered by Brunelleschi. Tickets cost 30 euros."
    question = "Who engineered the dome in the city, and how many came?"
    kept = ContextPruner("bm25").prune(question, [text], threshold=0.1).documents[0]
    assert [span.kept for span in kept.spans] == [True, True, False]
    assert [span.reason for span in kept.spans] == ["antecedent", "threshold", "below_threshold"]
    worse = ContextPruner("bm25:use_function_words=true").prune(question, [text], threshold=0.1).documents[0]
    # "in" stands in the first sentence
    assert worse.spans[0].probability > 0 == kept.spans[0].probability
    assert worse.spans[1].probability < kept.spans[1].probability
