"""Rules that are combined: one order of steps, a reason for each unit, and what holds whatever is combined."""

import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Document, Policy, SplitDocument, split
from contextpruner.decisions.closure import DEPENDENCIES, Dependencies
from contextpruner.decisions.policy import choose
from contextpruner.decisions.reorder import Ranking
from contextpruner.decisions.rules import DROPPED, is_kept
from contextpruner.decisions.token_counter import count_checked
from contextpruner.units.join import join_kept


def words(text: str) -> int:
    return len(text.split())


def chosen(
    policy: Policy, texts: list[str | Document], *rows: list[float], ranking: Ranking | None = None
) -> list[str]:
    """The reasons of each document in one line, given the probabilities of its units."""
    items = [text if isinstance(text, Document) else Document(text) for text in texts]
    documents = [SplitDocument(item, tuple(split(item.text))) for item in items]
    reasons = choose(policy, documents, [np.array(row, np.float32) for row in rows], words, None, ranking)
    return [" ".join(row) for row in reasons]


ABC = "Anna sings. Bees hum. Cats purr. "
DEF = "Dogs bark. Elks roam. Frogs leap. "
BARE = {"closure": ()}


LETTERS = {
    "B": "budget", "K": "top_k", "T": "threshold", "S": "share_of_best", "L": "at_least", "P": "protected",
    "N": "neighbour", "-": "irrelevant", "t": "below_threshold", "s": "below_share_of_best", "k": "below_top_k",
    "b": "over_budget", "d": "over_document_limit", "n": "below_top_documents",
}  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({"max_tokens": 100}, "BB- BB-"),
        ({"max_tokens": 100, "threshold": 0}, "BBB BBB"),
        ({"max_tokens": 4, "threshold": 0.5}, "Btt Bbt"),
        ({"share_of_best": 0.5}, "Ss- SS-"),
        ({"share_of_best": 0.5, "top_k": 2}, "Ks- Kk-"),
        ({"top_k": 9, "top_documents": 1}, "KK- nnn"),
        ({"top_k": 1, "min_document_units": 1}, "Kk- kk-"),
        ({"threshold": 0.85, "min_document_units": 1}, "Ttt Ltt"),
        ({"threshold": 0.85, "min_document_tokens": 3}, "TLt LLt"),
        ({"threshold": 0.1, "max_document_units": 1}, "Tdt Tdt"),
        ({"threshold": 0.1, "max_document_tokens": 3}, "Tdt Tdt"),
        ({"top_k": 1, "neighbours": (0, 1)}, "KN- kk-"),
        ({"top_k": 1, "protect": ("[Ee]lk", r"purr\.$")}, "KkP kP-"),
        ({"max_tokens": 4, "protect": ("Frogs",)}, "Bb- bbP"),
        ({"max_tokens": 4, "neighbours": (1, 1), "threshold": 0.85}, "BNt ttt"),
    ],
)
def test_rules_in_their_order(rules: dict[str, object], wanted: str) -> None:
    got = chosen(Policy(**rules, **BARE), [ABC, DEF], [0.9, 0.3, 0], [0.8, 0.7, 0])  # type: ignore[arg-type]
    assert got == [" ".join(LETTERS[letter] for letter in row) for row in wanted.split()]


@pytest.mark.parametrize("rule", [{"top_k": 2}, {"max_tokens": 50}, {"threshold": 0.5}, {"share_of_best": 0.5}])
@pytest.mark.parametrize("empty", ["keep_best", "empty"])
def test_nothing_irrelevant_is_ever_kept_unless_it_is_asked_for(rule: dict[str, object], empty: str) -> None:
    result = ContextPruner("bm25").prune("Who baked the bread?", [ABC, DEF], Policy(**rule, empty=empty))  # type: ignore[arg-type]
    assert [document.text for document in result.documents] == ["", ""]


def test_where_nothing_passes_the_best_fits_the_budget_or_stays_out() -> None:
    rows = ([0.1, 0.3, 0], [0.2, 0.1, 0])
    low = Policy(threshold=0.5, max_tokens=2, **BARE)  # type: ignore[arg-type]
    assert chosen(low, [ABC, DEF], *rows)[0] == "below_threshold keep_best below_threshold"
    none = Policy(threshold=0.5, max_tokens=1, **BARE)  # type: ignore[arg-type]
    assert "keep_best" not in " ".join(chosen(none, [ABC, DEF], *rows))


def test_protection_is_paid_first_and_refused_where_it_cannot_be() -> None:
    flagged = Document(DEF, protected=True)
    got = chosen(Policy(max_tokens=8, **BARE), [ABC, flagged], [0.9, 0.3, 0], [0, 0, 0])  # type: ignore[arg-type]
    assert got == ["budget over_budget irrelevant", "protected protected protected"]
    with pytest.raises(ValueError, match="want a budget that holds what is protected"):
        chosen(Policy(max_tokens=5), [ABC, flagged], [0.9, 0.3, 0], [0, 0, 0])
    result = ContextPruner("lead").prune("q", [{"text": DEF, "protected": True}, ABC], top_k=1)
    assert result.documents[0].text == DEF
    with pytest.raises(ValueError, match="document 0: protected wants true or false, got 'yes'"):
        ContextPruner("lead").prune("q", [{"text": DEF, "protected": "yes"}], top_k=1)


LONG = "The dome of the cathedral in Florence was engineered by Filippo Brunelleschi in {} and took years to build."


@pytest.mark.parametrize(
    ("other", "is_copy"),
    [
        (LONG.format(1420), True),
        (LONG.format(1420).upper().replace(" IN FLO", ", in Flo"), True),
        (LONG.format(1420) + " ", True),
        (LONG.format(1420).replace("years", "long"), True),
        (LONG.format(1436), False),
        (LONG.format(1420).replace("was", "was not"), False),
        ("Bread is baked from flour.", False),
    ],
)
def test_a_copy_is_near_equal_and_says_the_same(other: str, is_copy: bool) -> None:
    policy = Policy(threshold=0.1, redundancy=0.7)
    got = chosen(policy, ["Bees hum. " + LONG.format(1420), other], [0.2, 0.9], [0.8])
    assert got[0] == "threshold threshold"
    assert got[1] == ("copy of 1.2" if is_copy else "threshold")
    # the better one stays, wherever it stands
    assert chosen(policy, [other, LONG.format(1420)], [0.9], [0.8])[1] == ("copy of 1.1" if is_copy else "threshold")


def test_copies_are_of_other_documents_and_under_the_same_words() -> None:
    policy = Policy(threshold=0.1, redundancy=1.0, **BARE)  # type: ignore[arg-type]
    assert chosen(policy, ["Bees hum. Bees hum."], [0.9, 0.8]) == ["threshold threshold"]
    tables = [f"| Year | {year} |\n|---|---|\n| Tax | 120 |\n" for year in (2019, 2020)]
    assert chosen(policy, tables, [0, 0.9], [0, 0.8]) == ["below_threshold threshold"] * 2
    assert chosen(policy, tables[:1] * 2, [0, 0.9], [0, 0.8])[1] == "below_threshold copy of 1.2"
    titled = ["# A\n\nBees hum all day.", "# B\n\nBees hum all day."]
    assert chosen(policy, titled, [0, 0.9], [0, 0.8])[1] == "below_threshold copy of 1.2"


def test_a_copy_takes_the_place_of_what_did_not_stay() -> None:
    texts = ["Anna sings. Bees hum.", "Bees hum.", "Bees hum."]
    policy = Policy(threshold=0.1, redundancy=1.0, max_document_units=1, **BARE)  # type: ignore[arg-type]
    got = chosen(policy, texts, [0.9, 0.8], [0.7], [0.6])
    assert got == ["threshold over_document_limit", "threshold", "copy of 2.1"]


def test_marginal_relevance_prefers_what_is_new() -> None:
    texts = ["Bees hum loudly. Bees hum softly. Cats purr."]
    rows = [0.9, 0.8, 0.7]
    assert chosen(Policy(top_k=2, mmr=1.0), texts, rows) == ["top_k top_k below_top_k"]
    assert chosen(Policy(top_k=2, mmr=0.5), texts, rows) == ["top_k below_top_k top_k"]
    # by the vectors of a labeler where it has any
    vectors = [np.array([[1, 0], [0, 1], [1, 0.1]], np.float32)]
    ranking = Ranking(np.array([0.9], np.float32), vectors)
    assert chosen(Policy(top_k=2, mmr=0.5), texts, rows, ranking=ranking) == ["top_k top_k below_top_k"]


def test_documents_come_out_best_first_and_labels_follow() -> None:
    texts = [
        {"text": "Bees hum.", "id": "a"},
        {"text": "Look around. Bees hum. Bees hum all day.", "id": "b"},
        "Cats purr.",
    ]
    result = ContextPruner("bm25").prune(
        "bees hum day", texts, Policy(top_k=9, reorder=True, redundancy=1.0, closure=())
    )
    scores = [document.score for document in result.documents]
    assert scores == sorted(scores, reverse=True)
    assert [document.id for document in result.documents] == ["b", "a", None]
    assert result.documents[1].spans[0].reason == "copy of 1.2"


PARTS = [
    "# A\n",
    "It is.\n",
    "Dome. ",
    "Bees hum. ",
    "Bees hum, it is said, not 3 times. ",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "- x\n",
    "```\ny\n```\n",
]
TEXTS = st.lists(st.lists(st.sampled_from(PARTS), max_size=7).map("".join), min_size=1, max_size=4)
OPTIONAL = {
    "threshold": st.sampled_from([0.0, 0.25, 0.5]),
    "share_of_best": st.sampled_from([0.3, 1.0]),
    "top_k": st.integers(1, 6),
    "max_tokens": st.integers(0, 30),
    "top_documents": st.integers(1, 3),
    "min_document_units": st.integers(1, 2),
    "max_document_units": st.integers(2, 3),
    "min_document_tokens": st.integers(1, 4),
    "max_document_tokens": st.integers(4, 9),
    "neighbours": st.tuples(st.integers(0, 2), st.integers(0, 2)),
    "protect": st.sampled_from([(), ("Dome",)]),
    "redundancy": st.sampled_from([0.6, 1.0]),
    "mmr": st.sampled_from([0.3, 1.0]),
    "empty": st.sampled_from(["keep_best", "original", "empty"]),
    "empty_per": st.sampled_from(["question", "document"]),
    "closure": st.sampled_from([DEPENDENCIES, (), ("heading", "header")]),
}
POLICIES = (
    st.fixed_dictionaries({}, optional=OPTIONAL)
    .map(
        lambda rules: (
            rules if {"threshold", "share_of_best", "top_k", "max_tokens"} & set(rules) else rules | {"top_k": 3}
        )
    )
    .map(lambda rules: Policy(**rules))
)


def cut(texts: list[str]) -> list[SplitDocument]:
    return [SplitDocument(Document(text), tuple(split(text))) for text in texts]


def numbers(documents: list[SplitDocument], seed: int) -> list[np.ndarray]:
    """Probabilities by what is in a document, so that its place changes none of them."""
    draws = [np.random.default_rng([seed, *item.document.text.encode()]) for item in documents]
    return [
        draw.integers(0, 5, len(item.units)).astype(np.float32) / 4 for draw, item in zip(draws, documents, strict=True)
    ]


def reasons_of(policy: Policy, documents: list[SplitDocument], seed: int) -> list[list[str]] | None:
    try:
        return choose(policy, documents, numbers(documents, seed), words)
    except ValueError as error:
        assert "holds what is protected" in str(error)  # noqa: PT017
        return None


@settings(max_examples=300, deadline=None)
@given(texts=TEXTS, policy=POLICIES, seed=st.integers(0, 9))
def test_budgets_hold_what_is_kept_is_closed_and_each_reason_is_one(
    texts: list[str], policy: Policy, seed: int
) -> None:
    documents = cut(texts)
    got = reasons_of(policy, documents, seed)
    assume(got is not None)
    costs = [
        count_checked(words, join_kept(item.texts, map(is_kept, row))) for item, row in zip(documents, got, strict=True)
    ]
    assert policy.max_tokens is None or sum(costs) <= policy.max_tokens
    assert policy.max_document_tokens is None or max(costs) <= policy.max_document_tokens
    flat = [reason for row in got for reason in row]
    leaning = Dependencies(documents, [kind for kind in policy.closure if kind != "introduced"])
    probabilities = np.concatenate([*numbers(documents, seed), np.zeros(0)])
    for unit, reason in enumerate(flat):
        if is_kept(reason):
            assert all(is_kept(flat[other]) for _, other in leaning.of(unit))
        else:
            assert reason in DROPPED or re.fullmatch(r"copy of \d+\.\d+", reason)
        if reason in ("threshold", "share_of_best", "top_k", "budget", "at_least", "keep_best"):
            assert probabilities[unit] > 0 or policy.threshold == 0
        if reason.startswith("copy of "):
            number, place = map(int, reason.removeprefix("copy of ").split("."))
            assert is_kept(got[number - 1][place - 1])
    own = ("threshold", "share_of_best", "top_k", "budget", "at_least")
    assert policy.top_k is None or sum(reason in own for reason in flat) <= policy.top_k
    assert policy.max_document_units is None or all(
        sum(reason in own for reason in row) <= policy.max_document_units for row in got
    )


@settings(max_examples=200, deadline=None)
@given(texts=TEXTS, policy=POLICIES, seed=st.integers(0, 9), shuffled=st.randoms(use_true_random=False))
def test_the_order_of_documents_has_no_effect(texts: list[str], policy: Policy, seed: int, shuffled: object) -> None:
    assume(len(set(texts)) == len(texts))
    order = list(range(len(texts)))
    shuffled.shuffle(order)  # type: ignore[attr-defined]
    there = reasons_of(policy, cut(texts), seed)
    back = reasons_of(policy, cut([texts[place] for place in order]), seed)
    if there is None or back is None:
        assert there is back
        return
    # a label says where a unit stands, and that is another place
    bare = [["copy" if reason.startswith("copy") else reason for reason in row] for row in there]
    assert [["copy" if reason.startswith("copy") else reason for reason in row] for row in back] == [
        bare[at] for at in order
    ]


@settings(max_examples=150, deadline=None)
@given(texts=TEXTS, seed=st.integers(0, 9), closure=OPTIONAL["closure"], documents=st.sampled_from([None, 1, 2]))
def test_asking_for_more_keeps_what_was_kept(
    texts: list[str], seed: int, closure: tuple[str, ...], documents: int | None
) -> None:
    items = cut(texts)
    for name, values in {
        "threshold": (1.0, 0.5, 0.25, 0.0),
        "share_of_best": (1.0, 0.5, 0.1),
        "top_k": (1, 2, 5),
    }.items():
        before: set[tuple[int, int]] = set()
        for value in values:
            policy = Policy(**{name: value}, closure=closure, top_documents=documents, empty="empty")  # type: ignore[arg-type]
            got = reasons_of(policy, items, seed) or []
            kept = {(at, unit) for at, row in enumerate(got) for unit, reason in enumerate(row) if is_kept(reason)}
            assert kept >= before
            before = kept
