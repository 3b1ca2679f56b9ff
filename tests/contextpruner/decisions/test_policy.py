"""Policies: what passes, for which reason, and what happens where nothing does."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Document, Labeler, Labels, Policy, SplitDocument, split, split_html
from contextpruner.decisions.policy import choose
from contextpruner.decisions.reorder import ranked_units
from contextpruner.decisions.rules import is_kept
from contextpruner.decisions.token_counter import count_checked, estimate_tokens
from contextpruner.units.join import join_kept

WORDS: Callable[[str], int] = lambda text: len(text.split())  # noqa: E731


def reasons(policy: Policy, *rows: list[float], texts: list[str] | None = None) -> list[list[str]]:
    """Documents of one-word sentences, with the given probabilities."""
    given = texts or ["Word. " * len(row) for row in rows]
    documents = [SplitDocument(Document(text), tuple(split(text))) for text in given]
    chosen = choose(policy, documents, [np.array(row, np.float32) for row in rows], WORDS)
    return [list(row) for row in chosen]


def test_threshold_keeps_what_reaches_it() -> None:
    got = reasons(Policy(threshold=0.1), [0.1, 0.0999, 0.2], [], [0.05])
    assert got == [["threshold", "below_threshold", "threshold"], [], ["below_threshold"]]


def test_without_a_rule_the_labelers_own_threshold_is_filled_in() -> None:
    policy = Policy(closure=(), empty="original")
    assert policy.or_threshold(0.25, "lead") == Policy(threshold=0.25, closure=(), empty="original")
    for ruled in (Policy(top_k=2), Policy(max_tokens=0), Policy(threshold=0.0), Policy(target_recall=0.5)):
        assert ruled.or_threshold(0.25, "lead") is ruled
    with pytest.raises(ValueError, match="want one of .*: lead has no threshold of its own"):
        policy.or_threshold(None, "lead")
    with pytest.raises(ValueError, match="want a policy with one of .* got none"):
        reasons(policy, [0.5])


def test_top_k_counts_over_all_documents_and_ties_go_to_the_earlier() -> None:
    assert reasons(Policy(top_k=2), [0.1, 0.5], [0.5, 0.5]) == [["below_top_k", "top_k"], ["top_k", "below_top_k"]]
    assert reasons(Policy(top_k=9), [0.0], [0.1]) == [["irrelevant"], ["top_k"]]
    assert reasons(Policy(top_k=9, threshold=0), [0.0], [0.0]) == [["top_k"], ["top_k"]]
    # enough ties that no unstable sort keeps them in order by luck
    row = [0.5, 0.25] * 500
    got = reasons(Policy(top_k=300), row)[0]
    assert [place for place, reason in enumerate(got) if reason == "top_k"] == list(range(0, 600, 2))


def test_budget_passes_over_what_does_not_fit() -> None:
    texts = ["One two three four. One.", "One two."]
    got = reasons(Policy(max_tokens=5), [0.9, 0.1], [0.5], texts=texts)
    assert got == [["budget", "budget"], ["over_budget"]]
    got = reasons(Policy(max_tokens=3), [0.9, 0.1], [0.5], texts=texts)
    assert got == [["over_budget", "budget"], ["budget"]]
    assert reasons(Policy(max_tokens=0), [0.9, 0.1], [0.5], texts=texts) == [["over_budget"] * 2, ["over_budget"]]


@pytest.mark.parametrize(
    ("empty", "per", "wanted"),
    [
        ("keep_best", "question", "- - | + -"),
        ("original", "question", "+ + | + +"),
        ("empty", "question", "- - | - -"),
        ("keep_best", "document", "- + | + -"),
        ("original", "document", "+ + | + +"),
    ],
)
def test_where_nothing_passes(empty: str, per: str, wanted: str) -> None:
    policy = Policy(threshold=0.9, empty=empty, empty_per=per)  # type: ignore[arg-type]
    got = reasons(policy, [0.1, 0.2], [0.3, 0.3], [])
    rows = [" ".join("+" if is_kept(reason) else "-" for reason in row) for row in got[:2]]  # type: ignore[arg-type]
    assert " | ".join(rows) == wanted
    assert {reason for row in got for reason in row} <= {empty, "below_threshold"}


@pytest.mark.parametrize("per", ["question", "document"])
def test_markup_is_kept_with_the_whole_document_or_not_at_all(per: str) -> None:
    texts = ["<p>Tall. Old.</p><hr><p>Bread.</p>", "<hr><br>"]
    documents = [SplitDocument(Document(text), tuple(split_html(text))) for text in texts]
    probabilities = [np.full(len(document.units), 0.5, np.float32) for document in documents]
    markup = [[unit.kind == "markup" for unit in document.units] for document in documents]
    assert all(markup[1])
    rules = ({"threshold": 0.0}, {"threshold": 0.9}, {"top_k": 99}, {"max_tokens": 99}, {"max_tokens": 0})
    for rule, empty in itertools.product(rules, ("keep_best", "empty")):
        policy = Policy(**rule, empty=empty, empty_per=per)  # type: ignore[arg-type]
        for row, is_markup in zip(choose(policy, documents, probabilities, WORDS), markup, strict=True):
            assert not any(is_kept(reason) and silent for reason, silent in zip(row, is_markup, strict=True))
    policy = Policy(threshold=0.9, empty="original", empty_per=per)  # type: ignore[arg-type]
    assert all(is_kept(reason) for row in choose(policy, documents, probabilities, WORDS) for reason in row)


def test_per_document_touches_only_documents_of_which_nothing_passed() -> None:
    got = reasons(Policy(threshold=0.5, empty_per="document"), [0.6, 0.1], [0.1, 0.2])
    assert got == [["threshold", "below_threshold"], ["below_threshold", "keep_best"]]
    got = reasons(Policy(threshold=0.5), [0.6, 0.1], [0.1, 0.2])
    assert got == [["threshold", "below_threshold"], ["below_threshold"] * 2]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"threshold": 0.1, "target_recall": 0.9}, "want one of threshold and target_recall, got both"),
        ({"share_of_best": 0}, r"share_of_best wants a number in \(0, 1\], got 0"),
        ({"target_recall": 1}, r"target_recall wants a number in \(0, 1\), got 1"),
        ({"redundancy": 1.5}, r"redundancy wants a number in \(0, 1\], got 1.5"),
        ({"mmr": -1}, r"mmr wants a number in \[0, 1\], got -1"),
        ({"top_documents": 0}, "top_documents wants an integer of at least 1, got 0"),
        ({"min_document_units": 3, "max_document_units": 2}, "at most max_document_units, got 3 and 2"),
        ({"min_document_tokens": 3, "max_document_tokens": 2}, "at most max_document_tokens, got 3 and 2"),
        ({"neighbours": 1}, "neighbours wants a pair of counts, before and behind, got 1"),
        ({"neighbours": (1, -1)}, "neighbours wants an integer of at least 0, got -1"),
        ({"protect": "TODO"}, "protect wants a tuple of patterns, got 'TODO'"),
        ({"protect": ("(",)}, "protect wants a regular expression"),
        ({"protect": (r"(a)\1",)}, "protect wants a pattern that can be searched in linear time"),
        ({"reorder": 1}, "reorder wants True or False, got 1"),
        ({"threshold": 1.01}, r"threshold wants a number in \[0, 1\], got 1.01"),
        ({"threshold": -0.1}, r"threshold wants a number in \[0, 1\], got -0.1"),
        ({"threshold": float("nan")}, "got nan"),
        ({"threshold": True}, "got True"),
        ({"threshold": "0.1"}, "got '0.1'"),
        ({"top_k": 0}, "top_k wants an integer of at least 1, got 0"),
        ({"top_k": 1.5}, "top_k wants an integer of at least 1, got 1.5"),
        ({"max_tokens": -1}, "max_tokens wants an integer of at least 0, got -1"),
        ({"top_k": 1, "empty": "best"}, "empty wants keep_best, original or empty, got 'best'"),
        ({"top_k": 1, "empty_per": "all"}, "empty_per wants question or document, got 'all'"),
    ],
)
def test_bad_policies_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Policy(**fields)  # type: ignore[arg-type]


class Given(Labeler):
    """Gives units the numbers of a list, over all documents, again and again."""

    def __init__(self, numbers: list[float]) -> None:
        self.numbers = numbers

    def label(self, question: str, documents: list[SplitDocument]) -> Labels:  # type: ignore[override]
        numbers = itertools.cycle(self.numbers)
        rows = [np.array([next(numbers) for _ in item.units], dtype=np.float32) for item in documents]
        return Labels.best_unit(rows)


def pruned(texts: list[str], numbers: list[float], max_tokens: int, count: Callable[[str], int]) -> list[str]:
    """The kept text of every document."""
    documents = [SplitDocument(Document(text), tuple(split(text))) for text in texts]
    labels = Given(numbers).score("q", documents)
    policy = Policy(max_tokens=max_tokens)
    chosen = choose(policy, documents, labels.probabilities, count)
    return [join_kept(item.texts, map(is_kept, row)) for item, row in zip(documents, chosen, strict=True)]


COUNTERS: dict[str, Callable[[str], int]] = {
    "estimate": estimate_tokens,
    "words": WORDS,
    # adds two special tokens to every text, even to an empty one
    "special": lambda text: len(text.split()) + 2,
    # merges across the edges of units: fewer tokens together than apart
    "merging": lambda text: -(-len(text) // 7),
    # the other way round: each seam costs one more
    "growing": lambda text: len(text.split()) + max(0, text.count(".") - 1),
    # and one that no rule fits
    "wild": lambda text: (len(text) * 7919) % 23,
}


@pytest.mark.parametrize("counter", COUNTERS)
@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 6), max_size=6), min_size=1, max_size=4),
    numbers=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=1, max_size=9),
    max_tokens=st.integers(0, 40),
)
def test_a_budget_is_never_exceeded(
    counter: str, sizes: list[list[int]], numbers: list[float], max_tokens: int
) -> None:
    count = COUNTERS[counter]
    texts = ["".join("Word" + " word" * (size - 1) + ". " for size in row) for row in sizes]
    kept = pruned(texts, numbers, max_tokens, count)
    assert sum(count_checked(count, text) for text in kept) <= max_tokens


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 6), max_size=6), min_size=1, max_size=4),
    numbers=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=9),
    max_tokens=st.integers(0, 40),
)
def test_a_budget_of_plain_words_is_the_greedy_choice(
    sizes: list[list[int]], numbers: list[float], max_tokens: int
) -> None:
    texts = ["".join("Word" + " word" * (size - 1) + ". " for size in row) for row in sizes]
    flat = [size for row in sizes for size in row]
    values = [np.float32(numbers[place % len(numbers)]) for place in range(len(flat))]
    room, kept = max_tokens, set()
    documents = [SplitDocument(Document(text), tuple(split(text))) for text in texts]
    ranked = ranked_units(documents, np.array(values, np.float32), np.array(values, np.float32) > 0)
    for place in ranked.tolist():
        if flat[place] <= room:
            kept.add(place)
            room -= flat[place]
    got = pruned(texts, numbers, max_tokens, WORDS)
    assert sum(len(text.split()) for text in got) == sum(flat[place] for place in kept)


def test_special_tokens_are_paid_once_a_document_and_no_room_is_wasted() -> None:
    texts = ["One two. One two. One two.", "One two."]
    kept = pruned(texts, [0.9, 0.9, 0.9, 0.8], 8, COUNTERS["special"])
    assert kept == [texts[0], ""]
    # the second unit of a document that is open already costs four; were it six, the other would go first
    texts = ["One two. One two three four. ", "One."]
    assert pruned(texts, [0.9, 0.8, 0.1], 8, COUNTERS["special"]) == [texts[0], ""]


def test_a_counter_that_counts_wrongly_is_refused() -> None:
    for count in (lambda text: -1, lambda text: 1.5, lambda text: None):
        pruner = ContextPruner("lead", count_tokens=count)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="want count_tokens to return an integer of at least 0"):
            pruner.prune("q", ["A. B."], top_k=1)
