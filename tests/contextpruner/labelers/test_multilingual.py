"""The packaged model: it tells what answers in many languages, and leaves others to the lexical labeler, openly."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from contextpruner import Calibration, ContextPruner, Document, SplitDocument, split
from contextpruner.labeler import Labels
from contextpruner.labelers.bm25 import Bm25
from contextpruner.labelers.multilingual import ANSWERS, MODEL, WEIGHTS, Multilingual, mixed
from contextpruner.labelers.provence import Provence

# a question and three sentences, of which the second answers in other words
ASKED = {
    "en": ("Who designed the dome?", "Florence lies on a river. Its cupola is by Brunelleschi. Bread is cheap."),
    "de": ("Wer entwarf die Kuppel?", "Florenz liegt am Fluss. Den Kuppelbau schuf Brunelleschi. Brot ist billig."),
    "ru": ("Кто построил купол?", "Флоренция стоит на реке. Возведением купола руководил Брунеллески. Хлеб дёшев."),
    "zh": ("圆顶是谁设计的？", "佛罗伦萨在河边。穹顶由布鲁内莱斯基设计建造。面包很便宜。"),
    "ar": ("من صمم القبة؟", "تقع فلورنسا على نهر. القبة من تصميم برونليسكي عام 1436. الخبز رخيص."),
    "hi": ("गुंबद किसने बनाया?", "फ्लोरेंस नदी के किनारे है। गुंबद का निर्माण ब्रुनेलेस्की ने किया था। रोटी सस्ती है।"),
}  # fmt: skip
GEORGIAN = ("რომელია საქართველოს დედაქალაქი?", "საქართველოს დედაქალაქია თბილისი. პური კარგია.")


@pytest.mark.parametrize("language", ASKED)
def test_it_finds_the_sentence_that_answers(language: str) -> None:
    question, text = ASKED[language]
    result = ContextPruner("multilingual").prune(question, [text])
    probabilities = [span.probability for span in result.documents[0].seen]
    assert len(probabilities) == 3
    assert np.argmax(probabilities) == 1
    assert [span.kept for span in result.documents[0].seen][1]
    assert (result.labeler, result.note) == ("multilingual", "")


def test_it_mixes_what_provence_says_of_the_packaged_model_with_words() -> None:
    question, text = ASKED["en"]
    documents = [SplitDocument(Document(text, title="A dome"), tuple(split(text))), SplitDocument(Document(""), ())]
    own = Multilingual(precision="float32").score(question, documents)
    same = Provence(str(MODEL)).score(question, documents)
    words = Bm25().score(question, documents)
    np.testing.assert_array_equal(own.probabilities[0], mixed(same, words.probabilities)[0])
    np.testing.assert_array_equal(own.scores, same.scores)
    assert own.probabilities[1].shape == (0,)
    # 8 bits are near
    rough = Multilingual(precision="int8").score(question, documents)
    assert 0 < np.abs(rough.probabilities[0] - own.probabilities[0]).max() < 0.02


def test_the_mixture_by_hand() -> None:
    read = [np.array([0.5, 0.9], np.float32), np.zeros(0, np.float32), np.array([0.2, 1.0, 0.0], np.float32)]
    words = [np.array([0.5, 0.1], np.float32), np.zeros(0, np.float32), np.array([0.8, 1.0, 0.0], np.float32)]
    of_model, of_distance, of_words, constant = WEIGHTS
    # what is certain counts as one of a thousand less, and the best unit of all documents is the one of the third
    best = math.log(999)
    pairs = [(0, 0), (math.log(9), -math.log(9)), (-math.log(4), math.log(4)), (best, best), (-best, -best)]
    logits = [of_model * own + of_distance * (own - best) + of_words * word + constant for own, word in pairs]
    # no unit is likelier than that the documents answer, of which the best one's score tells
    for score, told in ((1.0, best), (0.2, -math.log(4))):
        moved = max(logits) - (ANSWERS[0] * told + ANSWERS[1])
        assert moved > 0
        found = mixed(Labels(tuple(read), np.array([0.1, 0.1, score], np.float32)), words)
        assert [one.shape for one in found] == [(2,), (0,), (3,)]
        assert {one.dtype for one in found} == {np.dtype(np.float32)}
        wanted = [1 / (1 + math.exp(moved - one)) for one in logits]
        np.testing.assert_allclose(np.concatenate(found), wanted, rtol=1e-4)
    # a unit that is less likely stays as it is
    half = np.array([0.5], np.float32)
    found = mixed(Labels((half,), np.ones(1, np.float32)), [half])
    np.testing.assert_allclose(found[0], 1 / (1 + math.exp(-constant)), rtol=1e-5)
    assert mixed(Labels((), np.zeros(0, np.float32)), []) == ()
    nothing = np.zeros(0, np.float32)
    assert [one.shape for one in mixed(Labels((nothing,), np.ones(1, np.float32)), [nothing])] == [(0,)]


def test_a_unit_counts_for_less_beside_a_better_one() -> None:
    question, text = ASKED["en"]
    better = "The dome was designed by Filippo Brunelleschi."
    alone, beside = (ContextPruner().prune(question, texts).documents[0] for texts in ([text], [text, better]))
    for one, other in zip(alone.seen, beside.seen, strict=True):
        assert other.probability <= one.probability


def test_a_language_beyond_the_model_goes_to_the_lexical_labeler_and_the_result_says_so() -> None:
    question, text = GEORGIAN
    result = ContextPruner().prune(question, [text])
    assert result.labeler == "bm25"
    assert result.note == "the question is in a script that the model was not trained in (Georgian)"
    assert result.to_dict()["note"] == result.note
    assert result.documents[0].text.startswith("საქართველოს დედაქალაქია თბილისი.")
    # the order of units is that of bm25, and its threshold falls on the model's
    lexical = ContextPruner("bm25").prune(question, [text])
    power = math.log(Multilingual().default_threshold) / math.log(Bm25().default_threshold)
    for own, other in zip(result.documents[0].spans, lexical.documents[0].spans, strict=True):
        assert own.probability == pytest.approx(other.probability**power, abs=1e-6)
        assert own.kept == other.kept
    # a question that can be read, about texts that cannot
    other = ContextPruner().prune("What is the capital of Georgia?", [text, text + " Tbilisi."])
    assert other.note.startswith("the documents are in a script")
    # of a page what a reader sees counts, and no markup
    page = Document(f"<html><body><p class='a-long-name-in-latin-letters'>{text}</p></body></html>", format="html")
    assert ContextPruner().prune("What is the capital of Georgia?", [page]).note.startswith("the documents are")
    # a few foreign names do no harm, and texts without letters say nothing
    assert not ContextPruner().prune("Who is თბილისი in the text about the capital?", ["The capital. " * 9]).note
    assert not ContextPruner().prune("1 + 1?", ["2", ""]).note


def test_many_questions_are_answered_each_by_its_own_labeler() -> None:
    pruner = ContextPruner()
    asked = [ASKED["en"], GEORGIAN, ASKED["de"]]
    many = pruner.prune_many([question for question, _ in asked], [[text] for _, text in asked])
    assert [result.labeler for result in many] == ["multilingual", "bm25", "multilingual"]
    for (question, text), result in zip(asked, many, strict=True):
        assert result.text == pruner.prune(question, [text]).text


def test_the_folder_of_the_model_is_small_and_says_nothing_of_where_it_was_made() -> None:
    assert sum(file.stat().st_size for file in MODEL.iterdir()) < 32e6
    for name in ("config.json", "calibration.json", "README.md"):
        text = (MODEL / name).read_text("utf-8")
        assert "/home" not in text
        assert "/work" not in text
    assert json.loads((MODEL / "calibration.json").read_text("utf-8"))["origin"]["model"] is None


def test_the_default_threshold_is_that_of_the_calibration_for_95_percent() -> None:
    promised = Calibration.load(MODEL).threshold(0.95)
    assert Multilingual().default_threshold == pytest.approx(promised, abs=0.001)


def test_a_target_recall_needs_no_calibration_of_ones_own() -> None:
    question, text = ASKED["en"]
    result = ContextPruner().prune(question, [text], target_recall=0.9)
    assert "Brunelleschi" in result.text


def test_fields_that_are_wrong_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="threshold in"):
        Multilingual(threshold=2.0)
    with pytest.raises(ValueError, match="has no 'no_such_labeler'"):
        Multilingual(otherwise="no_such_labeler")
