"""Passage quality without a question: each measure by hand, and exact pruning of an index."""

import dataclasses
import inspect
import math
from collections.abc import Iterator

import numpy as np
import pytest

from contextpruner.documents.document import Document
from contextpruner.qualities.divergence import Divergence
from contextpruner.qualities.unique_terms import UniqueTerms
from contextpruner.quality import QUALITIES, Quality, build_quality, prune_index
from prunekernels import registry, spec
from tests.contextpruner.tiny_models import save_tiny_model

PASSAGES = [
    "Click here to log in. Click here.",
    "The dome of Florence was built in 1436 by Brunelleschi.",
    "",
    "Click here to log in.",
]


def test_divergence_by_hand() -> None:
    fitted = Divergence().fit(["a b", "a c"])
    # a: 1/2 against 2/4, b: 1/2 against 1/4
    assert fitted.score("a b") == pytest.approx(-0.5 * math.log2(1) - 0.5 * math.log2(2))
    assert fitted.score("a") == pytest.approx(-math.log2(1 / 0.5))
    # a term of another collection counts as seen once
    assert fitted.score("d") == pytest.approx(-2)
    # nothing is worth less than nothing
    assert fitted.score("") == fitted.score("...") == pytest.approx(-2)
    assert Divergence().fit([""]).score("") == 0


def test_unique_terms_by_hand() -> None:
    assert UniqueTerms().score("a A b") == pytest.approx(2 / 3)
    assert UniqueTerms().score(" ") == 0


@pytest.fixture(params=registry.names(QUALITIES))
def name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every measure in its text form; one that needs a model gets a tiny one on disk."""
    measure = registry.load(QUALITIES, request.param, Quality)  # type: ignore[type-abstract]
    if "model" not in {field.name for field in dataclasses.fields(measure)}:  # type: ignore[arg-type]
        return request.param
    return f"{request.param}:model={save_tiny_model('token_nll', tmp_path_factory.mktemp('model'))}"


def test_every_measure_says_its_formula_and_direction(name: str) -> None:
    measure = type(build_quality(name))
    text = inspect.getmodule(measure).__doc__ or ""  # type: ignore[union-attr]
    assert "Higher =" in text or "draw" in text
    assert "score(d) =" in text or "draw" in text
    assert (inspect.getdoc(measure) or "").partition("\n")[0].endswith(".")
    assert measure.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert build_quality(spec.describe(build_quality(name))) == build_quality(name)


def test_every_measure_keeps_exactly_and_breaks_ties_to_the_earlier(name: str) -> None:
    same = prune_index(lambda: ["Equal words."] * 10, name, 0.25, keep_copies=True)
    assert same.kept.tolist() == [0, 1, 2]
    assert len(set(same.scores.tolist())) == 1
    found = prune_index(lambda: PASSAGES, name, 0.5)
    assert found.scores.dtype == np.float32
    assert len(found.kept) == 2
    again = prune_index(lambda: (Document(text) for text in PASSAGES), build_quality(name), 0.5)
    assert again.scores.tolist() == found.scores.tolist()
    assert prune_index(lambda: PASSAGES, name, 1).kept.tolist() == [0, 1, 2, 3]
    more = prune_index(lambda: PASSAGES, name, 0.75)
    assert set(found.kept) <= set(more.kept)
    # what is kept are the best, whatever the order that they came in
    turned = prune_index(lambda: PASSAGES[::-1], name, 0.5)
    assert turned.scores[::-1] == pytest.approx(found.scores, abs=1e-5)
    assert min(found.scores[found.kept]) >= max(np.delete(found.scores, found.kept))


def test_of_equal_texts_the_first_stays(name: str) -> None:
    passages = ["Two.", "One dome.", "Two.", "Three here.", "One dome."]
    found = prune_index(lambda: passages, name, 1)
    assert found.kept.tolist() == [0, 1, 3]
    assert found.copy_of.tolist() == [-1, -1, 0, -1, 1]
    assert [found.reason(number) for number in range(5)] == ["kept", "kept", "copy", "kept", "copy"]
    # two of the three different ones
    fewer = prune_index(lambda: passages, name, 0.5)
    assert len(fewer.kept) == 2
    assert sorted(map(fewer.reason, range(5))) == ["copy", "copy", "kept", "kept", "low_quality"]


def test_passages_are_never_held_together(name: str) -> None:
    alive: set[int] = set()
    most = 0

    class Text(str):
        def __init__(self, *_: object) -> None:
            alive.add(id(self))

        def __del__(self) -> None:
            alive.discard(id(self))

    def passages() -> Iterator[str]:
        nonlocal most
        for number in range(1500):
            most = max(most, len(alive))
            yield Text(f"Passage {number % 7}.")

    prune_index(passages, name, 0.5)
    assert most <= 520


def test_what_is_worded_unlike_the_collection_goes_first() -> None:
    passages = [
        f"The dome of {town} was built in 14{number}." for number, town in enumerate(("Rome", "Siena", "Pisa"), 20)
    ]
    odd = ["", "Zzz qqq xxx", "Sitemap: sitemap sitemap sitemap"]
    kept = prune_index(lambda: [*odd, *passages], "divergence", 0.5).kept
    assert kept.tolist() == [3, 4, 5]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="want at least one passage, got none"):
        prune_index(list)
    with pytest.raises(ValueError, match="passage 1 wants a string or something with a text, got int"):
        prune_index(lambda: ["a", 3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="passage 0 holds half of a surrogate pair"):
        prune_index(lambda: ["\ud800"])
    with pytest.raises(ValueError, match="keep_ratio"):
        prune_index(lambda: ["a"], keep_ratio=0)
    with pytest.raises(ValueError, match="has no 'best'"):
        prune_index(lambda: ["a"], "best")

    class Broken(Quality):
        def score(self, passage: str) -> float:
            return math.nan

    with pytest.raises(ValueError, match="Broken wants finite scores, got nan for passage 0"):
        prune_index(lambda: ["a"], Broken())
