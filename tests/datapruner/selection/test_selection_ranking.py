"""Cuts without a sort against a sort, groups against masks, tokens against every count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datapruner import select
from datapruner.corpus.uids import hash64, splitmix64
from datapruner.scoring.manifest import ROWS
from datapruner.selection import groups, ranking
from datapruner.selection.group_budgets import rows_for_tokens
from datapruner.selection.score_table_rows import ScoreTableRows
from datapruner.selection.select import SELECTORS, Selector
from prunekernels import spec
from tests.contracts.test_selectors import candidates, drawn
from tests.datapruner.drawn_tables import make_table, scored


def by_sort(values: np.ndarray, lots: np.ndarray, first: int, last: int) -> list[int]:
    """The rows whose rank by value, then by lot, lies in [first, last)."""
    return sorted(np.lexsort([lots, values])[first:last].tolist())


@pytest.mark.parametrize("n_values", [1, 2, 5, 1000])
def test_cuts_are_those_of_a_sort(n_values: int) -> None:
    size = 40
    values = np.random.default_rng(n_values).integers(-n_values, n_values, size).astype(np.float32)
    values[0] = -0.0
    lots = splitmix64(np.arange(size, dtype=np.uint64), 0)
    for n in range(size + 1):
        found = ranking.lowest(values, n, lots.__getitem__)
        assert np.flatnonzero(found).tolist() == by_sort(values, lots, 0, n)
        found = ranking.highest(values, n, lots.__getitem__)
        assert np.flatnonzero(found).tolist() == by_sort(-values, lots, 0, n)
        below = (size - n) // 2
        found = ranking.middle(values, n, lots.__getitem__)
        assert np.flatnonzero(found).tolist() == by_sort(values, lots, below, below + n)
    # equal lots, as two uids of one hash have them: the count is still exact
    assert ranking.lowest(values, 7, lambda tied: np.zeros(len(tied), dtype=np.uint64)).sum() == 7


def test_no_lot_is_asked_for_where_nothing_ties(tmp_path: Path) -> None:
    table = make_table(tmp_path / "t", scored(distinct=range(12), tied=[1] * 3 + [0] * 9))
    rows = ScoreTableRows(table)
    assert ranking.highest(rows.scores("tied"), 3, lambda tied: rows.lots(0, tied)).sum() == 3
    assert rows._drawn.size == 0
    # rows 0 to 2 are the first part, the tie below them reaches into all the others
    assert ranking.highest(rows.scores("tied"), 2, lambda tied: rows.lots(0, tied)).sum() == 2
    assert rows._drawn.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("block", [1, 3, 100])
def test_members_and_counts_of_groups_whatever_the_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(groups, "BLOCK", block)
    ids = np.array([2, 0, 2, 2, 4, 0, 2], dtype=np.uint8)
    assert [found.tolist() for found in groups.members(ids, 6)] == [[1, 5], [], [0, 2, 3, 6], [], [4], []]
    assert groups.counts(ids, 6).tolist() == [2, 0, 4, 0, 1, 0]
    assert groups.counts(ids, 6, np.arange(7)).tolist() == [6, 0, 11, 0, 4, 0]
    assert [found.tolist() for found in groups.members(ids[:0], 2)] == [[], []]


def test_equal_values_share_their_mean_rank() -> None:
    assert ranking.rank(np.array([3.0, 1, 2, 2, 9])).tolist() == [0.75, 0, 0.375, 0.375, 1]
    assert ranking.rank(np.array([7.0, 7, 7])).tolist() == [0.5, 0.5, 0.5]
    assert ranking.rank(np.array([7.0])).tolist() == [0.5]
    assert ranking.rank(np.array([])).tolist() == []


def test_a_table_is_read_in_its_order(tmp_path: Path) -> None:
    n = 23
    vectors = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    groups = [f"g{(7 * i) % 5}" for i in range(n)]
    table = make_table(tmp_path / "t", {**scored(a=range(n)), "v": {"vector": vectors}}, groups, range(n))
    rows = ScoreTableRows(table)
    assert rows.scores("a").tolist() == [*range(n)]
    assert rows.field(ROWS, "tokens", np.array([5, 2])).tolist() == [5, 2]
    found = rows.groups_by("source")
    assert found.names == ("g0", "g1", "g2", "g3", "g4")
    assert [found.names[i] for i in found.ids] == groups
    at = np.array([22, 0, 9, 3, 4, 9])
    assert (rows.vectors("v", at) == vectors[at]).all()
    assert (rows.vectors("v", None) == vectors).all()
    assert rows.vectors("v", np.empty(0, dtype=np.int64)).shape[0] == 0
    lots = splitmix64(hash64([f"u{i}" for i in range(n)]), 3)
    assert (rows.lots(3, at) == lots[at]).all()
    assert (rows.lots(3, None) == lots).all()
    assert (rows.lots(4, at) == splitmix64(hash64([f"u{i}" for i in range(n)]), 4)[at]).all()


def test_a_part_of_another_length_is_refused(tmp_path: Path) -> None:
    table = make_table(tmp_path / "t", scored(a=range(12)))
    other = make_table(tmp_path / "o", scored(a=range(2)))
    table.part("a", 1).write_bytes(other.part("a", 0).read_bytes())
    with pytest.raises(ValueError, match="want 1 rows, got 2"):
        select(table, "top", keep_ratio=0.5)
    table.part("a", 1).unlink()
    with pytest.raises(ValueError, match="want a part with a field 'score'"):
        select(table, "top", keep_ratio=0.5)


TOKENS: list[Callable[[np.random.Generator], np.ndarray]] = [
    lambda draw: draw.integers(1, 9, 50),
    lambda draw: np.ones(50, dtype=np.int64),
    lambda draw: draw.integers(0, 2, 50) * 1000 + 1,
    lambda draw: np.exp(draw.normal(0, 3, 50)).astype(np.int64),
]


@pytest.mark.parametrize("make", TOKENS)
@pytest.mark.parametrize("name", ["top", "middle", "random", "calibrated", "coverage_centric:beta=0.2"])
def test_tokens_buy_the_largest_count(name: str, make: Callable[[np.random.Generator], np.ndarray]) -> None:
    rule = spec.build(SELECTORS, name, Selector)
    given, tokens = candidates(drawn(50, "ties")), make(np.random.default_rng(0))
    costs = [int(tokens[rule.choose(given, n).kept].sum()) for n in range(rule.most(50) + 1)]
    for most in {0, 1, 7, *costs, *(max(0, cost - 1) for cost in costs), costs[-1] + 5}:
        n = rows_for_tokens(rule, given, tokens, most)
        assert costs[n] <= most
        assert n == rule.most(50) or costs[n + 1] > most
        if rule.nested:
            assert n == max(count for count, cost in enumerate(costs) if cost <= most)


def test_tokens_take_few_trials() -> None:
    class Counted:
        trials = 0

        def __getattr__(self, name: str) -> object:
            return getattr(rule, name)

        def choose(self, *given: object) -> object:
            self.trials += 1
            return rule.choose(*given)  # type: ignore[arg-type]

    rule, n = spec.build(SELECTORS, "top", Selector), 20_000
    given = candidates([float(i) for i in range(n)])
    # proportion alone takes a hundred trials for the cubes
    for tokens in (np.random.default_rng(0).integers(1, 2000, n), np.arange(n) ** 3):
        for share in (1.01, 2, 3):
            counted = Counted()
            rows_for_tokens(counted, given, tokens, int(tokens.sum() / share))  # type: ignore[arg-type]
            assert counted.trials <= 2 * n.bit_length()
