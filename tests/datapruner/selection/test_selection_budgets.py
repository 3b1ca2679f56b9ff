"""Budgets in rows and tokens, quotas of groups, sums of ranks, weights, warnings; and what is kept of all that."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from datapruner import Budget, Per, ScoreTable, Selection, Source, score, select, write
from datapruner.selection import selection_file
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.drawn_tables import make_table, scored

# six rows of a, three of b, one of c
GROUPS = [*"aabaabcaba"]
SIZES = {"a": 6, "b": 3, "c": 1}
TOKENS = [5, 1, 4, 1, 3, 2, 8, 1, 1, 4]


@pytest.fixture
def drawn(tmp_path: Path) -> ScoreTable:
    columns = scored(score=range(10), other=[4, 4, 4, 1, 2, 3, 0, 0, 9, 5])
    return make_table(tmp_path / "drawn", columns, GROUPS, TOKENS)


def per_group(selection: Selection) -> dict[str, int]:
    return {name: sum(GROUPS[row] == name for row in selection.kept) for name in SIZES}


@pytest.mark.parametrize(
    ("budget", "rows"),
    [
        (Budget(rows=3), [7, 8, 9]),
        (Budget(ratio=0.25), [7, 8, 9]),
        (0.25, [7, 8, 9]),
        # 4 + 1 + 1 are 6 tokens, the next row has 8
        (Budget(tokens=6), [7, 8, 9]),
        (Budget(tokens=13), [7, 8, 9]),
        (Budget(tokens=14), [6, 7, 8, 9]),
        # 14.1 of 30
        (Budget(token_ratio=0.47), [6, 7, 8, 9]),
        (Budget(token_ratio=0.46), [7, 8, 9]),
        (Budget(token_ratio=1.0), [*range(10)]),
        (Budget(tokens=10**6), [*range(10)]),
    ],
)
def test_a_budget_keeps_what_it_pays_for(drawn: ScoreTable, budget: Budget | float, rows: list[int]) -> None:
    selection = select(drawn, "top", "score", budget)
    assert selection.kept.tolist() == rows
    asked = budget if isinstance(budget, Budget) else Budget(ratio=budget)
    assert selection.steps[0]["budget"] == {name: value for name, value in vars(asked).items() if value is not None}
    assert selection.steps[0]["keep_ratio"] == asked.ratio


def test_tokens_are_shared_by_groups(drawn: ScoreTable) -> None:
    # 15 tokens of a, 7 of b, 8 of c: of 15 tokens a gets 7.5, b 3.5, c 4, the remainders equal
    selection = select(drawn, "top", "score", Budget(tokens=15), "source")
    assert per_group(selection) == {"a": 3, "b": 2, "c": 0}
    assert sum(TOKENS[row] for row in selection.kept) <= 15
    assert selection.reason(6) == "c: its share is 0 rows"
    equal = select(drawn, "bottom", "score", Budget(tokens=24), Per("source", "equal"))
    assert per_group(equal) == {"a": 3, "b": 3, "c": 1}


@pytest.mark.parametrize(
    ("quota", "rows", "counts"),
    [
        ("kept", 5, {"a": 3, "b": 2, "c": 0}),
        ("kept", 10, SIZES),
        ("equal", 3, {"a": 1, "b": 1, "c": 1}),
        ("equal", 6, {"a": 3, "b": 2, "c": 1}),
        ("equal", 9, {"a": 5, "b": 3, "c": 1}),
        ({"a": 2, "b": 1}, 3, {"a": 2, "b": 1, "c": 0}),
        ({"a": 1, "b": 99}, 6, {"a": 3, "b": 3, "c": 0}),
        ({"c": 0.5, "b": 0.5}, 4, {"a": 0, "b": 3, "c": 1}),
    ],
)
def test_groups_share_the_budget_by_quota(
    drawn: ScoreTable, quota: str | Mapping[str, float], rows: int, counts: dict[str, int]
) -> None:
    selection = select(drawn, "top", "score", Budget(rows=rows), Per("source", quota))
    assert per_group(selection) == counts
    assert selection.steps[0]["quota"] == quota
    assert selection.steps[0]["per"] == "source"


def test_given_counts_are_kept_of_each_group(drawn: ScoreTable) -> None:
    per = Per("source", counts={"a": 4, "c": 1})
    selection = select(drawn, "top", "score", per=per)
    assert selection.kept.tolist() == [3, 4, 6, 7, 9]
    assert selection.steps[0]["counts"] == {"a": 4, "c": 1}
    assert selection.reason(8) == "b: its share is 0 rows"
    with pytest.raises(ValueError, match="group 'b' has 3 rows, wanted are 4"):
        select(drawn, "top", "score", per=Per("source", counts={"b": 4}))


def test_a_sum_of_ranks_by_hand(tmp_path: Path) -> None:
    # ranks of a 0 .5 .5 1, of b 1 .67 .33 0
    table = make_table(tmp_path / "t", scored(a=[1, 2, 2, 3], b=[4, 3, 2, 1]), ["x", "x", "y", "y"])
    selection = select(table, "top", {"a": 1, "b": -1}, 0.5)
    name = "1 rank(a) - 1 rank(b)"
    assert selection.kept.tolist() == [2, 3]
    assert selection.scores[name].tolist() == pytest.approx([-1, -1 / 6, 1 / 6, 1])
    assert [*selection.scores] == ["a", "b", name]
    assert selection.reason(0) == f"{name} below 0.166667, the lowest that is kept"
    step = selection.steps[0]
    assert (step["by"], step["ranks"], step["column"]) == (name, {"a": 1.0, "b": -1.0}, None)
    assert [*step["columns"]] == ["a", "b"]
    same = select(table, "top", {"a": 0.5, "b": 0.5}, 0.5)
    assert same.scores["0.5 rank(a) + 0.5 rank(b)"].tolist() == pytest.approx([0.5, 7 / 12, 5 / 12, 0.5])
    assert select(table, "top", {"b": -2.0}, 0.25).kept.tolist() == [3]
    # ranks are those inside the group: 0 1 and 0 1 of a, 1 0 and 1 0 of b
    inside = select(table, "top", {"a": 1, "b": 0.5}, 0.5, "source")
    assert inside.scores["1 rank(a) + 0.5 rank(b)"].tolist() == [0.5, 1, 0.5, 1]
    within = select(table, "top", {"a": 1, "b": 3}, 0.5, within=select(table, "threshold:maximum=2", "a"))
    assert within.kept.tolist() == [0, 1]
    assert np.isnan(within.scores["1 rank(a) + 3 rank(b)"]).tolist() == [False, False, False, True]


def test_equal_sums_tie(tmp_path: Path) -> None:
    # the ranks are thirds and add up to 1 in every row, give or take the rounding of a float64
    table = make_table(tmp_path / "t", scored(a=[1, 2, 3, 4], b=[4, 3, 2, 1]))
    kept = {tuple(select(table, f"top:seed={seed}", {"a": 0.9, "b": 0.9}, 0.25).kept) for seed in range(40)}
    assert kept == {(0,), (1,), (2,), (3,)}


def test_a_filter_then_weights(drawn: ScoreTable, tmp_path: Path) -> None:
    half = select(drawn, "calibrated:alpha=0", "score", 0.5)
    assert half.weights is not None
    assert sorted(half.weights) == [0] * 5 + [2] * 5
    both = select(drawn, "calibrated:alpha=0", "score", Budget(rows=2), within=half)
    assert both.weights is not None
    # two rows stand for five each of which stood for two
    assert sorted(both.weights) == [0] * 8 + [5] * 2
    assert set(both.kept) <= set(half.kept)
    top = select(drawn, "top", "score", Budget(rows=2), within=half)
    assert top.weights is not None
    assert [*np.flatnonzero(top.weights)] == top.kept.tolist() == half.kept[-2:].tolist()
    both.save(tmp_path / "s.parquet")
    loaded = Selection.load(tmp_path / "s.parquet")
    assert loaded.weights is not None
    assert loaded.weights.tolist() == both.weights.tolist()
    assert loaded.weights.dtype == np.float32
    assert loaded.steps == both.steps == tuple(json.loads(json.dumps(both.steps)))
    assert select(drawn, "top", "score", 0.5).weights is None


def test_weights_add_up_in_every_group(drawn: ScoreTable) -> None:
    selection = select(drawn, "calibrated:alpha=0.4", "score", 0.5, "source")
    assert selection.weights is not None
    # c has a single row and is not drawn
    totals = [sum(w for w, group in zip(selection.weights, GROUPS, strict=True) if group == name) for name in SIZES]
    assert totals == pytest.approx([6, 3, 0])


def test_many_reasons_and_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 400
    table = make_table(tmp_path / "t", scored(score=range(n)), [f"g{i // 2:03}" for i in range(n)])
    selection = select(table, "top", keep_ratio=0.5, per="source")
    assert selection.kept.tolist() == [*range(1, n, 2)]
    assert len(selection.reasons) == 200
    assert selection.codes.dtype == np.int16
    monkeypatch.setattr(selection_file, "ROWS_PER_GROUP", 7)
    selection.save(tmp_path / "s.parquet")
    loaded = Selection.load(tmp_path / "s.parquet")
    assert loaded.codes.dtype == np.int16
    for one in (selection, loaded):
        assert [one.reason(row) for row in range(n)] == [selection.reason(row) for row in range(n)]
        assert one.kept_uids == [f"u{i}" for i in range(1, n, 2)]
        assert one.uid_range(5, 20) == [f"u{i}" for i in range(5, 20)]
        assert one.uid_range(n, n) == one.uid_range(0, 0) == []
        assert one.uid(399) == "u399"
        with pytest.raises(ValueError, match=r"want rows of \[0, 400\], got \[399, 401\]"):
            one.uid_range(399, 401)
    again = select(table, "top", keep_ratio=0.25, per="source", within=loaded)
    assert again.n_kept == 50
    assert len(set(again.reasons)) == len(again.reasons) == 350


def test_a_changed_file_is_not_read_on(drawn: ScoreTable, tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    select(drawn, "top", "score", 0.5).save(path)
    loaded = Selection.load(path)
    select(drawn, "top", {"score": 1, "other": 1}, 0.5).save(path)
    with pytest.raises(ValueError, match="was changed since it was read"):
        loaded.uid_range(0, 3)


def test_warns_where_a_score_alone_keeps_little(drawn: ScoreTable, tmp_path: Path) -> None:
    for selector, ratio in (("top", 0.2), ("bottom", 0.2), ("middle", 0.1), ("threshold:minimum=8", None)):
        with pytest.warns(UserWarning, match=r"keeps [12]0.0% of the rows by score alone: under 30%") as caught:
            selection = select(drawn, selector, "score", ratio)
        assert caught[0].filename == __file__
        assert selection.warnings == (str(caught[0].message),)
        selection.save(tmp_path / "s.parquet")
        assert Selection.load(tmp_path / "s.parquet").warnings == selection.warnings
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for selector in ("random", "calibrated", "coverage_centric"):
            assert select(drawn, selector, "score", 0.1).warnings == ()
        assert select(drawn, "top", "score", 0.3).warnings == ()


def test_a_row_dropped_before_has_no_rank(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"text": "x" * n, "source": "a"} for n in (1, 2, 3, 4)])
    table = score(Source(corpus, group="source"), ["length", "random"], tmp_path / "t")
    long = select(table, "threshold:minimum=2", "length")
    kept = select(table, "top", {"length": 1, "random": 0}, Budget(tokens=2), Per("source", "equal"), long)
    write(corpus, kept, tmp_path / "out")
    notes = [json.loads(line)["prunekit"] for line in (tmp_path / "out" / "dropped.jsonl").read_text().splitlines()]
    assert [note["scores"].keys() >= {"length", "random"} for note in notes] == [True, True]
    assert [note["scores"].get("1 rank(length) + 0 rank(random)") for note in notes] == [None, 0]
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        "2. `top:seed=0` by `1 rank(length) + 0 rank(random)`, tokens 2, inside each `source` with quota equal" in card
    )
    assert "   - `length` is `length:unit=characters,tokenizer=None`" in card
    assert "   - `random` is `random:seed=0`" in card


def test_refuses_budgets_that_do_not_fit(drawn: ScoreTable, tmp_path: Path) -> None:
    for wrong, message in (
        ({}, "want exactly one of rows, tokens, ratio, token_ratio, got none"),
        ({"rows": 1, "ratio": 0.5}, "want exactly one of .*, got rows, ratio"),
        ({"rows": 0}, "want rows as a whole number of at least 1, got 0"),
        ({"tokens": 2.5}, "want tokens as a whole number of at least 1, got 2.5"),
        ({"rows": True}, "want rows as a whole number of at least 1, got True"),
        ({"token_ratio": 1.5}, r"want a number in \(0, 1\], got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            Budget(**wrong)
    for given, message in (
        ({"quota": "even"}, 'want the quota "kept", "equal" or shares by group, got \'even\''),
        ({"quota": {"a": -1}}, "want shares of at least 0"),
        ({"quota": {"a": 0}}, "want shares of at least 0, one of them more"),
        ({"quota": {}}, "want shares of at least 0"),
        ({"quota": "equal", "counts": {"a": 1}}, "want either a quota or counts, got both"),
        ({"counts": {"a": 1.5}}, "want counts of whole rows"),
        ({"counts": {}}, "want counts of whole rows, together at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Per("source", **given)
    for call, message in (
        ({"keep_ratio": Budget(rows=11)}, "want a budget of at most the 10 rows that compete, got 11"),
        ({"keep_ratio": Budget(tokens=3)}, "want a budget that keeps at least one row, got 3 tokens"),
        ({"keep_ratio": 0.5, "per": Per("source", {"d": 1})}, "want groups of a, b, c, got d"),
        ({"keep_ratio": 0.5, "per": Per("source", {"b": 1})}, "want groups with shares that hold 5, got 3 in b"),
        ({"per": Per("source", counts={"d": 1})}, "want groups of a, b, c, got d"),
        ({"keep_ratio": 0.5, "per": Per("source", counts={"a": 1})}, "want either a keep_ratio or counts"),
        ({"per": Per("source", "equal")}, "top wants a keep_ratio"),
        ({"keep_ratio": 0.5, "by": {}}, "want columns with weights"),
        ({"keep_ratio": 0.5, "by": {"score": float("nan")}}, "want columns with weights"),
        ({"keep_ratio": 0.5, "by": {"score": 1, "width": 1}}, "no finished column 'width'"),
        ({"selector": "threshold", "keep_ratio": Budget(rows=3)}, "threshold decides itself"),
        ({"selector": "threshold", "per": Per("source", counts={"a": 1})}, "threshold decides itself"),
    ):
        with pytest.raises(ValueError, match=message):
            select(drawn, **{"selector": "top", "by": "score", **call})  # type: ignore[arg-type]
    reversed_table = make_table(tmp_path / "r", scored(score=[8, 1]), tokens=[8, 1])
    with pytest.raises(ValueError, match="want a budget that keeps at least one row, got 7 tokens"):
        select(reversed_table, "top", keep_ratio=Budget(tokens=7))
