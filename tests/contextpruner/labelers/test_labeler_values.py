"""What each labeler computes, worked by hand or from its formula written anew."""

import math
from pathlib import Path

import numpy as np
import pytest

from contextpruner import Document, Labeler, Labels, SplitDocument, split
from contextpruner.labelers.bi_encoder import BiEncoder
from contextpruner.labelers.bm25 import Bm25
from contextpruner.labelers.lead import Lead
from contextpruner.labelers.random import Random
from tests.contextpruner.labelers.scale_of_cosines import on_one_scale


def cut(*documents: str | Document) -> list[SplitDocument]:
    given = [Document(item) if isinstance(item, str) else item for item in documents]
    return [SplitDocument(item, tuple(split(item.text))) for item in given]


def test_bm25_worked_by_hand() -> None:
    # units: "Red fox. " (2 terms), "Red red red. " (3), "Blue." (1); mean length 2
    labels = Bm25(k1=1.2, b=0.75).score("red fox dodo", cut("Red fox. Red red red.", "Blue."))
    idf = {"red": math.log(1 + 1.5 / 2.5), "fox": math.log(1 + 2.5 / 1.5), "dodo": math.log(1 + 3.5 / 0.5)}
    first = (idf["red"] + idf["fox"]) * 1 / (1 + 1.2)
    second = idf["red"] * 3 / (3 + 1.2 * (0.25 + 0.75 * 3 / 2))
    best = max(first, second)
    # "dodo" occurs nowhere: it is covered by nothing, and counts in the whole question only
    scale = (best / sum(idf.values())) ** 0.1 / (best + 0.05 * (idf["red"] + idf["fox"]))
    np.testing.assert_allclose(labels.probabilities[0], [first * scale, second * scale], rtol=1e-6)
    np.testing.assert_array_equal(labels.probabilities[1], [0])
    np.testing.assert_allclose(labels.scores, [best * scale, 0], rtol=1e-6)


def test_bm25_agrees_with_a_plain_loop_in_float64() -> None:
    draw = np.random.default_rng(0)
    words = [f"w{index}" for index in range(12)]
    texts = [". ".join(" ".join(draw.choice(words, draw.integers(1, 9))) for _ in range(4)) for _ in range(5)]
    question = "w1 w2 w3 w3 unknown"
    documents = cut(*(Document(text.upper(), title=f"w3, w{index}?") for index, text in enumerate(texts)))
    units = [
        ["w3", f"w{index}", *text.lower().replace(".", "").split()]
        for index, document in enumerate(documents)
        for text in document.texts
    ]
    asked = ["w1", "w2", "w3", "unknown"]
    mean = sum(map(len, units)) / len(units)
    df = {term: sum(term in unit for unit in units) for term in asked}
    idf = {term: math.log(1 + (len(units) - df[term] + 0.5) / (df[term] + 0.5)) for term in asked}
    sums = [
        sum(idf[t] * unit.count(t) / (unit.count(t) + 1.5 * (0.6 + 0.4 * len(unit) / mean)) for t in asked)
        for unit in units
    ]
    best, covered = max(sums), sum(idf[t] for t in asked if df[t])
    wanted = [one / (best + 0.05 * covered) * (best / sum(idf.values())) ** 0.1 for one in sums]
    got = np.concatenate(Bm25(k1=1.5, b=0.4).score(question, documents).probabilities)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_bm25_reads_the_title_as_part_of_every_unit() -> None:
    documents = cut(Document("She was born in Warsaw. She died.", title="Curie"), "He was born in Ulm.")
    with_title = Bm25().score("where was Curie born", documents).probabilities
    without = Bm25(use_title=False).score("where was Curie born", documents).probabilities
    assert with_title[0][0] > with_title[1][0]
    assert without[0][0] == without[1][0]
    assert with_title[0][1] > 0 == without[0][1]


def test_bm25_without_any_term_is_zero() -> None:
    labels = Bm25(k1=0, b=1).score("?!", cut("A b. C d.", "..."))
    assert all((values == 0).all() for values in labels.probabilities)
    assert (Bm25().score("word", cut("...")).probabilities[0] == 0).all()
    # with k1 = 0 a unit that holds every term covers the question wholly
    assert Bm25(k1=0).score("x y", cut("X y.")).probabilities[0][0] == np.float32(1 / 1.05)


POLITE = "Hello, I hope you can help me with this: please tell me in one answer, "


def test_bm25_means_the_same_however_a_question_is_asked() -> None:
    text = "The dome was engineered by Filippo Brunelleschi. Tickets cost 30 euros. It is open every day."
    plain, polite, wrong = (
        Bm25().score(question, cut(text)).probabilities[0]
        for question in (
            "Who engineered the dome?",
            f"{POLITE}who engineered the dome?",
            "Who enginered the dome, the zyx or the qrt?",
        )
    )
    assert plain.argmax() == polite.argmax() == wrong.argmax() == 0
    assert polite[0] == plain[0]
    # words that occur nowhere take little
    assert plain[0] > wrong[0] > 0.85 * plain[0]
    # what is best shares one word of many with the question
    assert Bm25().score("How high is the tower of Ulm every year?", cut(text)).probabilities[0].max() < wrong[0]
    assert not Bm25().score("Which minerals do volcanoes bring up?", cut(text)).probabilities[0].any()


@pytest.mark.parametrize(
    ("question", "text", "other"),
    [
        ("How do vaccines work?", "A vaccine works in the body.", "Work begins at nine."),
        ("Welche Städte wachsen?", "Die Stadt ist gewachsen.", "Die Welche ist ein Boot."),
        ("Кто строил мосты?", "Мост построили в 1900 году.", "Это было давно."),
        ("Which option is for 3.11?", "Python 3.11 needs it.", "Chapter 11 has 3 figures."),
        ("Is C++ faster?", "C++ compiles.", "C is old."),
        ("What did the WHO decide?", "The WHO met.", "Who would it be."),
        ("Where is parse_line defined?", "Parse each line.", "It is long."),
        ("What does parseLine do?", "parse_line cuts it.", "It is long."),
        ("What is information?", "About infor-\nmation.", "About forms."),
        ("What is cooperation?", "About co\u00adoperation.", "About coops."),
        ("Wo ist Muenchen oder München?", "Munchen liegt hier.", "Hier ist nichts."),
    ],
)
def test_bm25_meets_words_in_their_forms(question: str, text: str, other: str) -> None:
    met, unmet = Bm25().score(question, cut(text, other)).probabilities
    assert met.max() > unmet.max()


@pytest.mark.parametrize("fields", [{"k1": -1}, {"k1": math.nan}, {"k1": math.inf}, {"b": 1.5}, {"b": -0.1}])
def test_bm25_refuses_bad_fields(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="bm25 wants k1 >= 0 and b in"):
        Bm25(**fields)  # type: ignore[arg-type]


def test_lead_is_one_over_the_place() -> None:
    labels = Lead().score("?", cut("Ab. Cd. Ef.", "Gh."))
    np.testing.assert_array_equal(labels.probabilities[0], np.float32([1, 1 / 2, 1 / 3]))
    np.testing.assert_array_equal(labels.scores, [1, 1])


def test_random_hangs_on_seed_question_and_document() -> None:
    documents = cut("Aa. Bb. Cc.", "Aa. Bb. Dd.", Document("Aa. Bb. Cc.", title="t"))
    values = [
        *Random().score("q", documents).probabilities,
        Random().score("p", documents).probabilities[0],
        Random(seed=1).score("q", documents).probabilities[0],
    ]
    assert len({value.tobytes() for value in values}) == 5
    many = Random().score("q", cut("A b. " * 5000)).probabilities[0]
    assert abs(many.mean() - 0.5) < 4 * math.sqrt(1 / 12 / len(many))


def test_bi_encoder_is_the_cosine_of_single_embeddings_on_one_scale(tiny_encoder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    documents = cut(Document("The dome. A longer sentence is here.", title="Florence"), "The dome.")
    labels = BiEncoder(str(tiny_encoder), device="cpu", batch_size=2).score("who?", documents)
    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    texts = ["Florence\nThe dome.", "Florence\nA longer sentence is here.", "The dome."]
    asked = model.encode("who?").astype(np.float64)
    vectors = [model.encode(text).astype(np.float64) for text in texts]
    cosines = [asked @ vector / np.linalg.norm(asked) / np.linalg.norm(vector) for vector in vectors]
    np.testing.assert_allclose(np.concatenate(labels.probabilities), on_one_scale(cosines), atol=1e-5)
    bare = BiEncoder(str(tiny_encoder), device="cpu", use_title=False).score("who?", documents)
    assert bare.probabilities[0][0] == bare.probabilities[1][0]


def test_bi_encoder_reads_what_introduces_a_unit_before_it(tiny_encoder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    (document,) = cut(Document("# The dome\n\nIt is:\n\n- tall\n", title="A b"))
    read = ["A b\n# The dome", "A b\n# The dome\nIt is:", "A b\n# The dome\nIt is:\n- tall"]
    (encoded,) = BiEncoder(str(tiny_encoder), device="cpu").encode([document])
    np.testing.assert_allclose(encoded["vectors"], model.encode(read, normalize_embeddings=True), atol=1e-5)


def test_bi_encoder_refuses_an_empty_batch() -> None:
    with pytest.raises(ValueError, match="batch_size of at least 1, got 0"):
        BiEncoder(batch_size=0)


class Broken(Labeler):
    """Says whatever the test wants."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    def label(self, question: str, documents: object) -> Labels:
        return self.labels


@pytest.mark.parametrize(
    ("probabilities", "scores", "said"),
    [
        ([[0.5]], [0], r"a probability for each unit, \[2\], got \[1\]"),
        ([[0.5, math.nan]], [0], r"unit 1 of document 0 wants \[0, 1\], got nan"),
        ([[0.5, 1.5]], [0], r"unit 1 of document 0 wants \[0, 1\], got 1.5"),
        ([[-0.5, 0.5]], [0], r"unit 0 of document 0"),
        ([[0.5, 0.5]], [math.inf], "want finite float32 scores"),
        ([[0.5, 0.5]], [0, 0], "want finite float32 scores"),
    ],
)
def test_a_labeler_that_breaks_its_contract_is_stopped(
    probabilities: list[list[float]], scores: list[float], said: str
) -> None:
    labels = Labels(tuple(np.array(row, np.float32) for row in probabilities), np.array(scores, np.float32))
    with pytest.raises(ValueError, match=said):
        Broken(labels).score("q", cut("Ab. Cd."))


def test_float64_is_stopped_too() -> None:
    with pytest.raises(ValueError, match="want float32"):
        Broken(Labels((np.zeros(2),), np.zeros(1, np.float32))).score("q", cut("Ab. Cd."))
