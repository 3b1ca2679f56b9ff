"""What must change nothing: the order of the documents, documents given twice, white space and empty ones beside them.

Held for every labeler that needs no model, under every kind of policy.
"""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Policy, Result, estimate_tokens
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.labeler import LABELERS, build_labeler
from prunekernels import registry

NAMES = [name for name in registry.names(LABELERS) if not hasattr(build_labeler(name), "model")]
QUESTION = "Who built the tall dome of Florence?"

# sentences, headings, pronouns, tables and code; a question's terms among them
PARTS = [
    "The dome is tall. ",
    "It was built in 1436. ",
    "Bread. ",
    "# Florence\n",
    "- a dome\n",
    "| dome | 1 |\n",
    "\n\n",
]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=6).map("".join)
DOCUMENTS = st.lists(TEXTS, min_size=1, max_size=5)
CLOSURES = st.sampled_from([DEPENDENCIES, (), ("antecedent",), ("heading", "header")])
EMPTY = st.sampled_from(["keep_best", "original", "empty"])
PER = st.sampled_from(["question", "document"])

RULES = st.one_of(
    st.sampled_from([0.0, 0.05, 0.3, 0.5, 1.0]).map(lambda value: {"threshold": value}),
    st.integers(1, 12).map(lambda value: {"top_k": value}),
    st.integers(0, 60).map(lambda value: {"max_tokens": value}),
)
POLICIES = st.builds(
    lambda rule, closure, empty, per: Policy(**rule, closure=closure, empty=empty, empty_per=per),
    RULES,
    CLOSURES,
    EMPTY,
    PER,
)


def said(result: Result, places: list[int]) -> list[tuple[object, ...]]:
    """All that a result says of the documents at `places`."""
    return [(result.documents[place].spans, result.documents[place].score) for place in places]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(documents=DOCUMENTS, policy=POLICIES, seed=st.randoms(use_true_random=False))
def test_the_order_of_the_documents(name: str, documents: list[str], policy: Policy, seed: object) -> None:
    order = list(range(len(documents)))
    seed.shuffle(order)  # type: ignore[attr-defined]
    pruner = ContextPruner(name)
    there = pruner.prune(QUESTION, documents, policy)
    back = pruner.prune(QUESTION, [documents[place] for place in order], policy)
    # of equal documents one must go first, and only the order says which
    assume(len(set(documents)) == len(documents))
    assert said(back, list(range(len(order)))) == said(there, order)
    assert (back.n_tokens_after, back.n_characters_after) == (there.n_tokens_after, there.n_characters_after)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(documents=DOCUMENTS, policy=POLICIES)
def test_documents_given_twice(name: str, documents: list[str], policy: Policy) -> None:
    result = ContextPruner(name).prune(QUESTION, documents * 2, policy)
    for first, second in zip(result.documents, result.documents[len(documents) :], strict=False):
        assert [span.probability for span in first.spans] == [span.probability for span in second.spans]
        assert first.score == second.score
        if policy.threshold is not None and (policy.empty != "keep_best" or policy.empty_per == "document"):
            assert first.spans == second.spans
    if policy.max_tokens is not None:
        assert sum(estimate_tokens(document.text) for document in result.documents) <= policy.max_tokens
    if policy.top_k is not None:
        reasons = [span.reason for document in result.documents for span in document.spans]
        having = [span for document in result.documents for span in document.spans if span.probability > 0]
        assert reasons.count("top_k") == min(policy.top_k, len(having))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(documents=DOCUMENTS, policy=POLICIES, places=st.lists(st.integers(0, 5), max_size=3))
def test_empty_documents_beside_them(name: str, documents: list[str], policy: Policy, places: list[int]) -> None:
    padded, own = list(documents), [True] * len(documents)
    for place in places:
        padded.insert(place, "")
        own.insert(place, False)
    pruner = ContextPruner(name)
    there, here = pruner.prune(QUESTION, documents, policy), pruner.prune(QUESTION, padded, policy)
    kept = [place for place, is_own in enumerate(own) if is_own]
    assert said(here, kept) == said(there, list(range(len(documents))))
    assert all(document.text == "" for document, is_own in zip(here.documents, own, strict=True) if not is_own)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(documents=DOCUMENTS, policy=POLICIES)
def test_every_unit_has_a_probability_and_a_reason_that_fits(name: str, documents: list[str], policy: Policy) -> None:
    result = ContextPruner(name).prune(QUESTION, documents, policy)
    own = {"threshold": "threshold", "top_k": "top_k", "max_tokens": "budget"}[policy.rule]
    lost = {"threshold": "below_threshold", "top_k": "below_top_k", "max_tokens": "over_budget"}[policy.rule]
    kept, dropped = {own, policy.empty, *policy.closure}, {lost, "irrelevant"}
    for document in result.documents:
        for span in document.spans:
            assert 0 <= span.probability <= 1
            assert span.reason in (kept if span.kept else dropped)
            assert span.reason != "irrelevant" or (span.probability == 0 and policy.threshold is None)
            if policy.threshold is not None:
                assert (span.reason == "threshold") == (span.probability >= policy.threshold - 1e-8)
