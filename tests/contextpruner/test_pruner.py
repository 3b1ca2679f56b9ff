"""The entry: verbatim output, names preserved, input untouched, bad input refused with its place."""

import copy
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Document, Labeler, Labels, Policy, SplitDocument, Unit
from contextpruner.labelers.lead import Lead
from contextpruner.units.join import join_kept

ROOT = Path(__file__).resolve().parents[2]
TEXT = "The dome was designed by Brunelleschi. It is tall. Bread is baked."


@dataclass
class Page:
    """A user's own class."""

    text: str
    id: int
    title: str = "Page"
    metadata: str = "kept by the user"


POLICIES = st.one_of(
    st.floats(0, 1, width=32).map(lambda value: Policy(threshold=value)),
    st.integers(1, 9).map(lambda value: Policy(top_k=value)),
    st.integers(0, 60).map(lambda value: Policy(max_tokens=value)),
    st.builds(
        Policy,
        threshold=st.just(1.0),
        empty=st.sampled_from(["keep_best", "original", "empty"]),
        empty_per=st.sampled_from(["question", "document"]),
    ),
)
TEXTS = st.text(alphabet=st.one_of(st.sampled_from("aB1.!? \n\r|#-。é\u0301👍\x00"), st.characters(codec="utf-8")))


@pytest.mark.parametrize("labeler", ["bm25", "lead", "random"])
@settings(max_examples=100, deadline=None)
@given(documents=st.lists(TEXTS, min_size=1, max_size=4), policy=POLICIES)
def test_every_text_is_made_of_verbatim_slices(labeler: str, documents: list[str], policy: Policy) -> None:
    result = ContextPruner(labeler).prune("a B 1", documents, policy)
    assert len(result.documents) == len(documents)
    for given_text, document in zip(documents, result.documents, strict=True):
        assert document.original == given_text
        slices = [given_text[span.start : span.end] for span in document.spans]
        assert document.text == join_kept(slices, [span.kept for span in document.spans])
        assert "".join(given_text[span.start : span.end] for span in document.spans) == given_text
        assert document.n_characters_after == len(document.text)
        assert document.n_characters_before == len(given_text)
        assert all(span.reason for span in document.spans)
    assert result.n_tokens_after == sum(document.n_tokens_after for document in result.documents)
    if policy.max_tokens is not None:
        assert result.n_tokens_after <= policy.max_tokens
    if policy.empty == "original" and policy.threshold == 1 and not any(document.text for document in result.documents):
        assert not any(documents)


def test_the_question_decides() -> None:
    result = ContextPruner("bm25").prune("Who designed the dome?", [TEXT, "Nothing here."], threshold=0.2)
    assert [document.text for document in result.documents] == ["The dome was designed by Brunelleschi. ", ""]
    first, second = result.documents
    assert first.score > second.score
    assert first.spans[0].kept
    assert first.spans[0].reason == "threshold"
    assert first.spans[1].reason == "below_threshold"
    assert result.labeler == "bm25"
    assert result.labelling_ms > 0
    assert (result.n_characters_before, result.n_characters_after) == (len(TEXT) + 13, 39)


def test_names_are_preserved_and_nothing_is_changed() -> None:
    documents = ["plain", {"id": "x", "title": "T", "text": TEXT, "more": [1]}, Page(TEXT, 7), Document(TEXT, id="x")]
    before = copy.deepcopy(documents)
    result = ContextPruner(Lead()).prune("q", documents, top_k=1)  # type: ignore[arg-type]
    assert documents == before
    assert [document.id for document in result.documents] == [None, "x", 7, "x"]
    assert [document.title for document in result.documents] == [None, "T", "Page", None]


def test_empty_documents_survive() -> None:
    result = ContextPruner("bm25").prune("q", ["", TEXT, " \n"], threshold=0.0)
    assert [document.text for document in result.documents] == ["", TEXT, " \n"]
    assert result.documents[0].spans == ()
    assert result.documents[0].n_tokens_before == 0
    assert ContextPruner("bm25").prune("q", ["", ""], top_k=1).n_characters_after == 0
    assert ContextPruner("bm25").prune("q", [""], Policy(threshold=1, empty="original")).documents[0].text == ""


def test_a_huge_document_without_a_stop() -> None:
    for text in ("word " * 20_000, "x" * 100_000):
        result = ContextPruner("bm25").prune("word", [text], Policy(max_tokens=1000, threshold=0))
        assert 0 < result.n_tokens_after <= 1000
        assert result.documents[0].text in text


@pytest.mark.parametrize(
    ("question", "documents", "said"),
    [
        ("", [TEXT], "want a question, got an empty text"),
        (" \n\u3000", [TEXT], "want a question, got an empty text"),
        (None, [TEXT], "the question wants a string, got NoneType"),
        ("q\ud800", [TEXT], "the question holds half of a surrogate pair at character 1"),
        ("q", [], "want at least one document, got an empty list"),
        ("q", TEXT, "want a list of documents, got one str"),
        ("q", {"text": TEXT}, "want a list of documents, got one dict"),
        ("q", [TEXT, 3], "document 1 wants a string or something with a text, got int"),
        ("q", [TEXT, None], "document 1 wants a string or something with a text, got NoneType"),
        ("q", [TEXT, b"x"], "document 1 wants a string or something with a text, got bytes"),
        ("q", [{"id": 1}], "document 0: text wants a string, got NoneType"),
        ("q", [{"text": 1}], "document 0: text wants a string, got int"),
        ("q", [{"text": "a", "title": 1}], "document 0: title wants a string, got int"),
        ("q", [{"text": "a", "id": 1.5}], "document 0: id wants a string or an integer, got float"),
        ("q", [TEXT, "ab\udc00"], "document 1 holds half of a surrogate pair at character 2"),
    ],
)
def test_bad_input_is_refused_with_its_place(question: str, documents: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ContextPruner("bm25").prune(question, documents, top_k=1)


def test_rules_are_refused_before_anything_is_labelled() -> None:
    class Never(Lead):
        def label(self, question: object, documents: object) -> None:  # type: ignore[override]
            raise AssertionError

    pruner = ContextPruner(Never())
    with pytest.raises(ValueError, match="want one of .* max_tokens: .* has no threshold of its own"):
        pruner.prune("q", [TEXT])
    with pytest.raises(ValueError, match="threshold and target_recall, got both"):
        pruner.prune("q", [TEXT], threshold=0.5, target_recall=0.5)
    with pytest.raises(TypeError, match="want rules among threshold, top_k, .* or a policy, got mmr, top_n"):
        pruner.prune("q", ["A."], top_n=3, mmr=0.5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="want a policy or one of .* got both"):
        pruner.prune("q", [TEXT], Policy(top_k=1), top_k=1)
    with pytest.raises(ValueError, match="document 0"):
        pruner.prune("q", [1], top_k=1)  # type: ignore[list-item]


def test_labelers_are_built_from_text_or_taken_as_they_are() -> None:
    with pytest.raises(ValueError, match="has no 'bm52'; it has .*bm25"):
        ContextPruner("bm52")
    with pytest.raises(ValueError, match="want a labeler or its text form, got int"):
        ContextPruner(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "units",
    [[(0, 3)], [(0, 3), (4, 6)], [(0, 3), (2, 6)], [(0, 0), (0, 6)], [(1, 6)], [(0, 7)], []],
)
def test_a_splitter_that_loses_text_is_refused(units: list[tuple[int, int]]) -> None:
    pruner = ContextPruner("lead", splitter=lambda text: [Unit(start, end, "sentence") for start, end in units])
    with pytest.raises(ValueError, match="document 0: want units"):
        pruner.prune("q", ["abcdef"], top_k=1)


def test_a_labeler_of_the_user_s_own_needs_only_label() -> None:
    class Last(Labeler):
        def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
            return Labels.best_unit([np.linspace(0, 1, len(item.units), dtype=np.float32) for item in documents])

    result = ContextPruner(Last()).prune("q", [TEXT], top_k=1)
    assert result.documents[0].text == "Bread is baked."
    assert result.labeler == "Last"


def test_a_result_is_plain_json() -> None:
    result = ContextPruner("lead").prune("q?", [{"id": 3, "title": "ü", "text": TEXT}], top_k=1)
    back = json.loads(json.dumps(result.to_dict()))
    document = back["documents"][0]
    assert document["id"] == 3
    assert document["text"] == "The dome was designed by Brunelleschi. "
    assert document["spans"][0] == {
        "label": "1.1",
        "start": 0,
        "end": 39,
        "probability": 1.0,
        "kept": True,
        "reason": "top_k",
        "kind": "sentence",
    }
    assert back["policy"]["top_k"] == 1
    assert back["n_characters_after"] == 39


def test_the_import_pulls_in_nothing_heavy() -> None:
    program = (
        "import sys, contextpruner\n"
        "contextpruner.ContextPruner('bm25').prune('q', ['Text.'], top_k=1)\n"
        "heavy = {'transformers', 'sentence_transformers', 'rich', 'typer', 'pyarrow', 'matplotlib', 'rensa'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    paths = [str(ROOT), str(ROOT / "kernels")]
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}"], check=True)


def test_the_example_prints_what_is_kept() -> None:
    paths = [str(ROOT), str(ROOT / "kernels")]
    start = (
        f"import sys, runpy; sys.path[:0] = {paths!r}; runpy.run_path('examples/prune_contexts.py', {{}}, '__main__')"
    )
    done = subprocess.run([sys.executable, "-c", start], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Its dome was designed by Filippo Brunelleschi" in done.stdout
