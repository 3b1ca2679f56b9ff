"""What every selector promises. Each file of datapruner/selectors is enrolled by itself."""

from __future__ import annotations

import dataclasses
import inspect
import random
import re

import numpy as np
import pytest
import torch

from datapruner import Candidates, Outcome, Selector
from datapruner.selecting import PACKAGE
from datapruner.uids import hash64
from prunekernels import registry, spec

NAMES = registry.names(PACKAGE)
SIZES = (1, 2, 5, 64, 101)


@pytest.fixture(params=NAMES)
def selector(request: pytest.FixtureRequest) -> Selector:
    return spec.build(PACKAGE, request.param, Selector)


def candidates(scores: list[float], ids: list[int] | None = None) -> Candidates:
    groups = None if ids is None else tuple(f"group {i}" for i in range(max(ids, default=0) + 1))
    keys = hash64([f"u{i}" for i in range(len(scores))])
    at = torch.tensor(ids if ids is not None else [0] * len(scores), dtype=torch.int64)
    return Candidates(torch.tensor(scores, dtype=torch.float32), keys, at, "quality", groups)


def drawn(n: int, kind: str) -> list[float]:
    draw = random.Random(n)
    return [{"distinct": draw.gauss(0, 3), "ties": float(draw.randrange(3)), "equal": 1.0}[kind] for _ in range(n)]


def check(outcome: Outcome, n: int) -> None:
    assert outcome.kept.tolist() == sorted(set(outcome.kept.tolist()))
    assert outcome.codes.shape == (n,)
    assert (np.flatnonzero(outcome.codes < 0) == outcome.kept).all()
    assert set(outcome.codes.tolist()) - {-1} == set(range(len(outcome.reasons)))
    assert all(reason.strip() for reason in outcome.reasons)
    assert len(set(outcome.reasons)) == len(outcome.reasons)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_dataclass_with_defaults_and_words(name: str) -> None:
    method = registry.load(PACKAGE, name, Selector)
    assert method.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert re.match(r"(Paper|Rule): \S", str(method.__doc__)), "the docstring begins with its paper or rule"
    assert inspect.getmodule(method).__doc__  # type: ignore[union-attr]
    assert spec.build(PACKAGE, spec.describe(method()), Selector) == method()


@pytest.mark.parametrize("kind", ["distinct", "ties", "equal"])
@pytest.mark.parametrize("n", SIZES)
def test_exact_counts_and_a_reason_for_the_rest(selector: Selector, n: int, kind: str) -> None:
    given = candidates(drawn(n, kind))
    for n_keep in {0, 1, n // 3, n - 1, n}:
        outcome = selector.select(given, [n_keep])
        check(outcome, n)
        if selector.counts:
            assert len(outcome.kept) == n_keep


def test_nothing_to_choose_from(selector: Selector) -> None:
    check(selector.select(candidates([]), [0]), 0)


@pytest.mark.parametrize("kind", ["distinct", "ties", "equal"])
def test_order_of_rows_changes_nothing(selector: Selector, kind: str) -> None:
    draw = random.Random(1)
    given = candidates(drawn(64, kind), [draw.randrange(3) for _ in range(64)])
    counts = (torch.bincount(given.group_ids) // 2).tolist()
    first = selector.select(given, counts)
    for _ in range(3):
        order = np.array(draw.sample(range(64), 64))
        again = selector.select(given.take(order), counts)
        assert sorted(order[again.kept]) == first.kept.tolist()
        reasons = [outcome_reason(again, i) for i in range(64)]
        assert reasons == [outcome_reason(first, i) for i in order.tolist()]


def outcome_reason(outcome: Outcome, index: int) -> str | None:
    return None if outcome.codes[index] < 0 else outcome.reasons[outcome.codes[index]]


def test_groups_get_their_counts(selector: Selector) -> None:
    ids = [i % 4 for i in range(50)] + [4]
    given = candidates(drawn(51, "ties"), ids)
    counts = [3, 0, 12, 5, 1]
    outcome = selector.select(given, counts)
    check(outcome, 51)
    if selector.counts:
        assert np.bincount(np.array(ids)[outcome.kept], minlength=5).tolist() == counts
        assert all(reason.startswith("group ") for reason in outcome.reasons)
        # inside a group the rule is that of the group alone
        members = np.flatnonzero(np.array(ids) == 2)
        alone = selector.select(dataclasses.replace(given.take(members), group_ids=torch.zeros(12).long()), [12])
        assert members[alone.kept].tolist() == [i for i in outcome.kept.tolist() if ids[i] == 2]


def test_refuses_scores_that_are_no_numbers(selector: Selector) -> None:
    given = candidates([1.0, float("nan"), 2.0])
    if not selector.needs_scores:
        check(selector.select(given, [2]), 3)
        return
    with pytest.raises(ValueError, match="NaN in row 1 of 'quality'"):
        selector.select(given, [2])


def test_refuses_counts_that_cannot_be_met(selector: Selector) -> None:
    if not selector.counts:
        pytest.skip("the rule itself decides how many are kept")
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match="want a count in"):
            selector.select(candidates([1.0, 2.0, 3.0]), [wrong])


def test_ties_are_drawn_by_seed_not_by_row() -> None:
    given = candidates(drawn(200, "equal"))
    for name in NAMES:
        kept = [set(spec.build(PACKAGE, f"{name}:seed={s}", Selector).select(given, [100]).kept) for s in (0, 1)]
        if not registry.load(PACKAGE, name, Selector).counts:
            assert kept[0] == kept[1]
            continue
        assert 20 < len(kept[0] & kept[1]) < 80
        assert 20 < len([row for row in kept[0] if row < 100]) < 80
