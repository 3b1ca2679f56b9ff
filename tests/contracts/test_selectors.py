"""What every selector promises. Each file of datapruner/selectors is enrolled by itself."""

from __future__ import annotations

import dataclasses
import inspect
import random
import re

import numpy as np
import pytest

from datapruner import Candidates, Outcome, Selector
from datapruner.corpus.uids import hash64
from datapruner.selection.candidates import ArrayRows
from datapruner.selection.groups import Groups
from datapruner.selection.select import SELECTORS
from prunekernels import registry, spec

NAMES = registry.names(SELECTORS)
SIZES = (1, 2, 5, 64, 101)
KINDS = ("distinct", "ties", "equal", "negative")


@pytest.fixture(params=NAMES)
def selector(request: pytest.FixtureRequest) -> Selector:
    return spec.build(SELECTORS, request.param, Selector)


def candidates(scores: list[float]) -> Candidates:
    """Rows with all that a selector may ask for: scores, clusters of rows and vectors."""
    n = len(scores)
    draw = np.random.default_rng(n)
    clusters = {"cluster": draw.integers(0, 4, n).astype(np.int32), "score": draw.random(n, dtype=np.float32)}
    centroids = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    # every third row goes for the one before it
    nearest = np.where(np.arange(n) % 3 == 1, np.arange(n) - 1, -1)
    copies = {
        "score": (nearest >= 0) * draw.random(n, np.float32),
        "nearest_row": nearest,
        "against_row": np.full(n, -1),
    }
    rows = ArrayRows(
        keys=hash64([f"u{i}" for i in range(n)]),
        fields={
            "near_duplicate": copies,
            "prototypicality": clusters,
            "dual": {"mean": draw.random(n, dtype=np.float32)},
        },
        # rows in pairs: half of the vectors are equal to another
        arrays={"embedding": draw.normal(size=(n, 3)).astype(np.float32)[np.arange(n) // 2]},
        states={"prototypicality": {"centroids": centroids}},
    )
    return Candidates(np.array(scores, dtype=np.float32), rows, by="quality")


def drawn(n: int, kind: str) -> list[float]:
    draw = random.Random(n)
    made = {
        "distinct": lambda: draw.gauss(0, 3),
        "ties": lambda: float(draw.randrange(3)),
        "equal": lambda: 1.0,
        "negative": lambda: -1 - draw.random(),
    }
    return [made[kind]() for _ in range(n)]


def groups_of(ids: list[int]) -> Groups:
    return Groups(np.array(ids, dtype=np.uint8), tuple(f"group {i}" for i in range(max(ids, default=0) + 1)))


def check(outcome: Outcome, n: int) -> None:
    assert outcome.codes.shape == (n,)
    assert outcome.codes.dtype.kind == "i"
    assert (np.flatnonzero(outcome.codes < 0) == outcome.kept).all()
    assert set(outcome.codes.tolist()) - {-1} == set(range(len(outcome.reasons)))
    assert all(reason.strip() for reason in outcome.reasons)
    assert len(set(outcome.reasons)) == len(outcome.reasons)
    if outcome.weights is not None:
        assert outcome.weights.dtype == np.float32
        assert np.isfinite(outcome.weights).all()
        assert ((outcome.weights > 0) == (outcome.codes < 0)).all()


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_dataclass_with_defaults_and_words(name: str) -> None:
    method = registry.load(SELECTORS, name, Selector)
    assert method.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert re.match(r"(Paper|Rule): \S", str(method.__doc__)), "the docstring begins with its paper or rule"
    assert inspect.getmodule(method).__doc__
    assert spec.build(SELECTORS, spec.describe(method()), Selector) == method()
    assert ("subset" in str(inspect.getmodule(method).__doc__)) == method.nested


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", SIZES)
def test_exact_counts_and_a_reason_for_the_rest(selector: Selector, n: int, kind: str) -> None:
    given = candidates(drawn(n, kind))
    for n_keep in {0, 1, n // 10, n // 3, n // 2, n - 1, n}:
        outcome = selector.select(given, n_keep)
        check(outcome, n)
        if selector.counts:
            assert len(outcome.kept) == n_keep


def test_nothing_to_choose_from(selector: Selector) -> None:
    check(selector.select(candidates([]), 0), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_rows_changes_nothing(selector: Selector, kind: str) -> None:
    draw = random.Random(1)
    given, groups = candidates(drawn(64, kind)), groups_of([draw.randrange(3) for _ in range(64)])
    counts = [size // 2 for size in groups.sizes()]
    first = selector.select(given, counts, groups)
    for _ in range(3):
        order = np.array(draw.sample(range(64), 64))
        again = selector.select(given.take(order), counts, groups.take(order))
        assert sorted(order[again.kept]) == first.kept.tolist()
        reasons = [outcome_reason(again, i) for i in range(64)]
        assert reasons == [outcome_reason(first, i) for i in order.tolist()]
        if first.weights is not None:
            assert again.weights is not None
            assert (again.weights == first.weights[order]).all()


def outcome_reason(outcome: Outcome, index: int) -> str | None:
    return None if outcome.codes[index] < 0 else outcome.reasons[outcome.codes[index]]


@pytest.mark.parametrize("kind", KINDS)
def test_nested_where_it_says_so(selector: Selector, kind: str) -> None:
    if not selector.nested:
        pytest.skip("what is kept for a smaller count may go for a larger one")
    given = candidates(drawn(64, kind))
    kept = [set(selector.select(given, n).kept.tolist()) for n in range(65)]
    assert all(small < large for small, large in zip(kept, kept[1:], strict=False))


def test_groups_get_their_counts(selector: Selector) -> None:
    ids = [i % 4 for i in range(50)] + [4]
    given, groups = candidates(drawn(51, "ties")), groups_of(ids)
    counts = [3, 0, 12, 5, 1]
    outcome = selector.select(given, counts, groups)
    check(outcome, 51)
    if selector.counts:
        assert np.bincount(np.array(ids)[outcome.kept], minlength=5).tolist() == counts
        assert all(reason.startswith("group ") for reason in outcome.reasons)
    # inside a group the rule is that of the group alone
    for group in (0, 2, 3):
        members = np.flatnonzero(np.array(ids) == group)
        alone = selector.select(given.take(members), counts[group])
        assert members[alone.kept].tolist() == [i for i in outcome.kept.tolist() if ids[i] == group]


def test_a_group_for_every_row(selector: Selector) -> None:
    # more reasons than a byte can number
    n = 300
    groups = Groups(np.arange(n, dtype=np.uint16), tuple(f"group {i:03}" for i in range(n)))
    outcome = selector.select(candidates(drawn(n, "ties")), [i % 2 for i in range(n)], groups)
    check(outcome, n)
    if selector.counts:
        assert outcome.kept.tolist() == list(range(1, n, 2))
        assert str(outcome_reason(outcome, 298)).startswith("group 298: ")


def test_refuses_scores_that_are_no_numbers(selector: Selector) -> None:
    given = candidates([1.0, float("nan"), 2.0])
    if not selector.needs_scores:
        check(selector.select(given, 2), 3)
        return
    with pytest.raises(ValueError, match="NaN in row 1 of 'quality'"):
        selector.select(given, 2)
    with pytest.raises(ValueError, match="NaN in row 1 of 'quality'"):
        selector.select(given.take(np.array([1, 2])), 1)


def test_refuses_counts_that_cannot_be_met(selector: Selector) -> None:
    if not selector.counts:
        pytest.skip("the rule itself decides how many are kept")
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match="want a count in"):
            selector.select(candidates([1.0, 2.0, 3.0]), wrong)


@pytest.mark.parametrize("name", NAMES)
def test_ties_are_drawn_by_seed_not_by_row(name: str) -> None:
    given = candidates(drawn(200, "equal"))
    given = dataclasses.replace(given, rows=dataclasses.replace(given.rows, arrays={"embedding": np.ones((200, 3))}))  # type: ignore[type-var]
    kept = [set(spec.build(SELECTORS, f"{name}:seed={s}", Selector).select(given, 100).kept.tolist()) for s in (0, 1)]
    if not registry.load(SELECTORS, name, Selector).counts:
        assert kept[0] == kept[1]
        return
    assert 20 < len(kept[0] & kept[1]) < 80
    assert 20 < len([row for row in kept[0] if row < 100]) < 80
