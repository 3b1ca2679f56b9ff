"""Many questions: the results of one call each, and what is known of documents is found once."""

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from contextpruner import ContextPruner, Document, DocumentCache, Policy, Result
from contextpruner.decisions import labeling_many
from contextpruner.documents.cache import key_of
from contextpruner.labeler import Labeler, build_labeler
from contextpruner.labelers.bm25 import Bm25
from tests.contextpruner.tiny_models import save_tiny_model

DOCUMENTS: list[object] = [
    {"text": "# Florence\n\nThe dome was engineered by Brunelleschi. It is tall.", "id": "a", "title": "Cathedral"},
    "Bread is baked from flour. Bees hum in May 1436.",
    {"text": "<h2>Limits</h2><p>No dome on Windows:</p><ul><li>BSD</li><li>Bees</li></ul>", "format": "html"},
    Document(""),
    "Bread is baked from flour. Bees hum in May 1436.",
]
QUESTIONS = ["Who engineered the dome?", "What do bees do?", "Is there bread?", "?", "Who engineered the dome?"]
POLICY = Policy(max_tokens=30, threshold=0.01, redundancy=0.9, mmr=0.7, reorder=True, neighbours=(0, 1))
FOLDERS: dict[str, Path] = {}


@pytest.fixture(
    params=[
        "bm25",
        "lead",
        "bi_encoder",
        "late_interaction",
        "late_interaction,pool_factor=2",
        "provence",
        "provence,precision=int8",
    ]
)
def labeler(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Labeler:
    name, _, fields = request.param.partition(",")
    if name in ("bm25", "lead"):
        return build_labeler(name)
    if name not in FOLDERS:
        FOLDERS[name] = save_tiny_model(name, tmp_path_factory.mktemp(name))
    return build_labeler(f"{name}:model={FOLDERS[name]}{',' + fields if fields else ''}")


def same(one: Result, other: Result, *, exact: bool) -> None:
    """Equal but for times, and for the rounding of a model."""
    assert (one.question, one.policy, one.labeler) == (other.question, other.policy, other.labeler)
    for mine, theirs in zip(one.documents, other.documents, strict=True):
        values, wanted = ([span.probability for span in item.spans] for item in (mine, theirs))
        np.testing.assert_allclose(values, wanted, rtol=0, atol=0 if exact else 1e-5)
        assert mine.score == pytest.approx(theirs.score, abs=0 if exact else 1e-5)
        bare = [[dataclasses.replace(span, probability=0.0) for span in item.spans] for item in (mine, theirs)]
        assert bare[0] == bare[1]
        assert dataclasses.replace(mine, spans=(), score=0.0) == dataclasses.replace(theirs, spans=(), score=0.0)


def check(many: list[Result], pruner: ContextPruner, lists: list[list[object]], **rules: object) -> None:
    for question, documents, result in zip(QUESTIONS, lists, many, strict=True):
        alone = ContextPruner(pruner.labeler).prune(question, documents, **rules)  # type: ignore[arg-type]
        # a model rounds otherwise only where it embeds documents in other company
        embeds = hasattr(pruner.labeler, "model") and pruner.labeler.encode([]) is not None
        same(result, alone, exact=not embeds)


def test_shared_documents_give_what_one_call_each_gives(labeler: Labeler, tmp_path: Path) -> None:
    pruner = ContextPruner(labeler)
    check(pruner.prune_many(QUESTIONS, DOCUMENTS, top_k=3), pruner, [DOCUMENTS] * 5, top_k=3)
    # out of memory and of a folder, and with documents of each question's own
    lists = [DOCUMENTS[: number + 1][::-1] for number in range(5)]
    for _ in range(2):
        kept = ContextPruner(labeler, cache=DocumentCache(folder=tmp_path))
        for _ in range(2):
            check(kept.prune_many(QUESTIONS, lists, POLICY), pruner, lists, policy=POLICY)
            same(
                kept.prune(QUESTIONS[0], DOCUMENTS, POLICY), pruner.prune(QUESTIONS[0], DOCUMENTS, POLICY), exact=False
            )


class Counted(Bm25):
    """Counts how many documents it was asked to encode."""

    def encode(self, documents):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        COUNTS.append(len(documents))
        return super().encode(documents)


COUNTS: list[int] = []


def test_a_second_question_encodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    COUNTS.clear()
    monkeypatch.setattr(labeling_many, "QUESTIONS", 2)
    cache = DocumentCache(folder=tmp_path)
    pruner = ContextPruner(Counted(), cache=cache)
    pruner.prune_many(QUESTIONS, DOCUMENTS, top_k=1)
    pruner.prune("And bees?", DOCUMENTS, top_k=1)
    # two of five are equal; chunks, and calls, after the first have nothing to do
    assert [count for count in COUNTS if count] == [4]
    assert 0 < cache.n_bytes < 100_000
    # another process has the folder alone
    ContextPruner(Counted(), cache=DocumentCache(folder=tmp_path)).prune("And bees?", DOCUMENTS, top_k=1)
    assert [count for count in COUNTS if count] == [4]
    # other fields, another title, other units: other entries
    ContextPruner(Counted(use_title=False), cache=cache).prune("And bees?", DOCUMENTS[:1], top_k=1)
    pruner.prune("And bees?", [{"text": DOCUMENTS[1], "title": "New"}], top_k=1)
    assert [count for count in COUNTS if count] == [4, 1, 1]
    # a broken file is no entry
    for file in tmp_path.iterdir():
        file.write_bytes(b"\0" * 9)
    ContextPruner(Counted(), cache=DocumentCache(folder=tmp_path)).prune("And bees?", DOCUMENTS, top_k=1)
    assert [count for count in COUNTS if count] == [4, 1, 1, 4]


def test_memory_is_bounded_by_bytes() -> None:
    cache = DocumentCache(max_bytes=100)
    for number in range(9):
        cache.put_arrays(str(number), {"a": np.zeros(10, np.float32)})
        assert cache.n_bytes <= 100
    assert [cache.get(str(number)) is not None for number in range(9)] == [False] * 7 + [True] * 2
    # what was asked for last stays
    cache.get("7")
    cache.put("9", "value", 40)
    assert cache.get("7") is not None
    assert cache.get("8") is None
    cache.put("large", "value", 101)
    assert cache.n_bytes <= 100
    assert cache.get("large") is None
    assert key_of(["ab", "c"]) != key_of(["a", "bc"])
    for bad in (-1, 1.5, True):
        with pytest.raises(ValueError, match="max_bytes wants an integer of at least 0"):
            DocumentCache(bad)  # type: ignore[arg-type]
    # nothing fits, and all is right
    pruner = ContextPruner("bm25", cache=DocumentCache(0))
    check(pruner.prune_many(QUESTIONS, DOCUMENTS, top_k=2), pruner, [DOCUMENTS] * 5, top_k=2)


@pytest.mark.parametrize("characters", [1, 60, 10_000])
@pytest.mark.parametrize("questions", [1, 2, 99])
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, characters: int, questions: int) -> None:
    monkeypatch.setattr(labeling_many, "CHARACTERS", characters)
    monkeypatch.setattr(labeling_many, "QUESTIONS", questions)
    lists = [DOCUMENTS[number:] for number in range(5)]
    check(ContextPruner("bm25").prune_many(QUESTIONS, lists, top_k=2), ContextPruner("bm25"), lists, top_k=2)


def test_a_splitter_of_ones_own_is_asked_each_time() -> None:
    from contextpruner import Unit

    cache = DocumentCache()
    pruners = [
        ContextPruner(
            "bm25", splitter=lambda text, at=at: [Unit(0, at, "sentence"), Unit(at, 15, "sentence")], cache=cache
        )
        for at in (5, 9)
    ]
    for pruner, wanted in zip(pruners, (5, 9), strict=True):
        assert pruner.prune("bread", ["Bread is baked."], top_k=1).documents[0].spans[0].end == wanted


def test_in_a_thread_of_its_own() -> None:
    pruner = ContextPruner("bm25")
    many = asyncio.run(pruner.prune_many_async(QUESTIONS, DOCUMENTS, top_k=2))
    check(many, pruner, [DOCUMENTS] * 5, top_k=2)
    assert pruner.prune_many([], DOCUMENTS, top_k=2) == []


def test_each_question_may_have_a_policy_of_its_own() -> None:
    pruner = ContextPruner("bm25")
    policies = [Policy(), Policy(top_k=1, closure=()), POLICY, Policy(max_tokens=5), Policy(top_k=1, closure=())]
    for many in (
        pruner.prune_many(QUESTIONS, DOCUMENTS, policies),
        pruner.prune_many(QUESTIONS, [DOCUMENTS] * 5, policies),
    ):
        for question, policy, result in zip(QUESTIONS, policies, many, strict=True):
            same(result, pruner.prune(question, DOCUMENTS, policy), exact=True)
    with pytest.raises(ValueError, match="want a policy for each of 5 questions, got 4"):
        pruner.prune_many(QUESTIONS, DOCUMENTS, policies[1:])
    with pytest.raises(ValueError, match="got both"):
        pruner.prune_many(QUESTIONS, DOCUMENTS, policies, top_k=1)


@pytest.mark.parametrize(
    ("questions", "documents", "said"),
    [
        ("one", ["a"], "want a list of questions, got one str"),
        (["a", " "], ["a"], "want a question, got an empty text for question 1"),
        (["a", 3], ["a"], "question 1 wants a string, got int"),
        (["a"], "text", "want a list of documents, got one str"),
        (["a"], [], "want at least one document, got an empty list"),
        (["a", "b"], [["a"]], "want documents for each of 2 questions, got 1 lists"),
        (["a", "b"], [["a"], [3]], "question 1: document 0 wants a string or something with a text, got int"),
        (["a", "b"], [["a"], []], "question 1: want at least one document"),
    ],
)
def test_bad_input_is_refused_with_its_place(questions: object, documents: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ContextPruner("bm25").prune_many(questions, documents, top_k=1)  # type: ignore[arg-type]
