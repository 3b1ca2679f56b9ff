"""Selecting, combining and saving."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import Candidates, ScoreTable, Selection, Source, score, select, write
from datapruner.corpus.uids import hash64
from datapruner.selection.candidates import ArrayRows
from datapruner.selectors.threshold import Threshold
from prunekernels import budget
from tests.datapruner.conftest import make_rows, write_jsonl


def test_kept_rows_and_reasons_by_hand(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"text": "x" * n} for n in (3, 1, 5, 2, 4)])
    table = score(corpus, "length", tmp_path / "t")
    middle = select(table, "middle", keep_ratio=0.4)
    assert middle.kept.tolist() == [0, 3]
    assert middle.counts() == {
        "length below 2, the lowest that is kept": 1,
        "length above 3, the highest that is kept": 2,
    }
    assert middle.reason(1) == "length below 2, the lowest that is kept"
    assert middle.reason(0) is None
    between = select(table, "threshold:minimum=2,maximum=4")
    assert between.kept.tolist() == [0, 3, 4]
    assert between.reason(2) == "length above the maximum 4"
    top = select(table, "top", keep_ratio=0.5, within=between)
    assert top.kept.tolist() == [0, 4]
    assert [top.reason(row) for row in (1, 2, 3)] == [
        "length below the minimum 2",
        "length above the maximum 4",
        "length below 3, the lowest that is kept",
    ]


def test_both_ends_of_a_threshold_are_kept() -> None:
    # 0.7 as a float32 is below 0.7 as a float64, and 0.1 above
    scores = np.array([0.1, 0.3, 0.7, 0.70001, 0.09999], dtype=np.float32)
    given = Candidates(scores, ArrayRows(hash64("abcde")))
    assert Threshold(minimum=0.1, maximum=0.7).select(given).kept.tolist() == [0, 1, 2]
    assert Threshold(minimum=0.7).select(given).kept.tolist() == [2, 3]
    assert Threshold(maximum=0.1).select(given).kept.tolist() == [0, 4]
    assert Threshold().select(given).kept.tolist() == [0, 1, 2, 3, 4]


def test_a_tie_at_the_cut_says_so(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"text": "x" * n} for n in (1, 2, 2, 2, 2, 3)])
    table = score(corpus, "length", tmp_path / "t")
    for selector, others in (("top", "below"), ("bottom", "above")):
        counts = select(table, selector, keep_ratio=0.5).counts()
        end = "lowest" if others == "below" else "highest"
        assert counts == {
            f"length {others} 2, the {end} that is kept": 1,
            "length ties at 2, the lowest that is kept: drawn by uid"
            if selector == "top"
            else "length ties at 2, the highest that is kept: drawn by uid": 2,
        }
    assert select(table, "middle", keep_ratio=0.5).counts() == {
        "length below 2, the lowest that is kept": 1,
        "length above 2, the highest that is kept": 1,
        "length ties at 2, the lowest that is kept: drawn by uid": 1,
    }


@pytest.mark.parametrize("keep_ratio", [0.001, 0.3, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("selector", ["top", "bottom", "middle", "random"])
def test_as_many_rows_are_kept_as_asked(table: ScoreTable, selector: str, keep_ratio: float) -> None:
    whole = select(table, selector, "length", keep_ratio)
    assert whole.n_kept == budget.n_keep(103, keep_ratio)
    per = select(table, selector, "length", keep_ratio, per="source")
    groups = np.array(table.read("rows", "group").to_pylist())
    names = sorted(set(groups))
    sizes = [(groups == name).sum() for name in names]
    assert per.n_kept == whole.n_kept
    assert [(groups[per.kept] == n).sum() for n in names] == budget.allocate(whole.n_kept, sizes).tolist()
    assert sum(per.counts().values()) == 103 - per.n_kept


def test_per_group_is_the_rule_inside_each_group(table: ScoreTable) -> None:
    per = select(table, "top", "length", 0.4, per="source")
    groups, scores = np.array(table.read("rows", "group").to_pylist()), table.scores("length")
    for name in set(groups):
        members = np.flatnonzero(groups == name)
        kept = np.intersect1d(members, per.kept)
        assert scores[kept].min() >= scores[np.setdiff1d(members, kept)].max()
        assert all(str(per.reason(row)).startswith(f"{name}: length ") for row in np.setdiff1d(members, kept))


@pytest.mark.parametrize("selector", ["top", "bottom", "middle", "random:seed=4", "calibrated:alpha=0.3"])
def test_a_smaller_ratio_is_a_subset(table: ScoreTable, selector: str) -> None:
    ratios = (0.05, 0.2, 0.21, 0.7, 1.0)
    kept = [set(select(table, selector, "length", ratio).kept.tolist()) for ratio in ratios]
    assert all(small <= large for small, large in zip(kept, kept[1:], strict=False))


@pytest.mark.parametrize("selector", ["top", "bottom", "middle", "random"])
def test_order_of_the_corpus_changes_nothing(tmp_path: Path, selector: str) -> None:
    # lengths of 1 to 4: nearly every row ties
    rows = [{"id": i, "text": "x" * (1 + i % 4), "source": "ab"[i % 2]} for i in range(60)]
    kept = []
    for name, some in (("a", rows), ("b", rows[::-1]), ("c", rows[17:] + rows[:17])):
        source = Source(write_jsonl(tmp_path / f"{name}.jsonl", some), uid="id", group="source", chunk_rows=13)
        table = score(source, "length", tmp_path / name)
        # 21 of 30 + 30: one group gets the odd row
        kept.append([set(select(table, selector, keep_ratio=0.35, per=per).kept_uids) for per in (None, "source")])
    assert kept[0] == kept[1] == kept[2]
    other = select(tmp_path / "a", f"{selector}:seed=1", keep_ratio=0.35)
    assert set(other.kept_uids) != kept[0][0]


def test_a_selection_loads_as_it_was_saved(table: ScoreTable, tmp_path: Path) -> None:
    first = select(table, "threshold:minimum=60", "length")
    for selection in (
        select(table, "middle", "random", 0.3, "source", first),
        select(table, "top", "length", 1.0),
        first,
    ):
        selection.save(tmp_path / "deep" / "s.parquet")
        loaded = Selection.load(tmp_path / "deep" / "s.parquet")
        assert (loaded.codes == selection.codes).all()
        assert loaded.codes.dtype == selection.codes.dtype == np.int8
        assert (loaded.reasons, loaded.input, loaded.steps) == (selection.reasons, selection.input, selection.steps)
        assert loaded.kept_uids == selection.kept_uids == [f"doc-{row}" for row in selection.kept]
        assert loaded.scores.keys() == selection.scores.keys()
        assert all((loaded.scores[name] == selection.scores[name]).all() for name in loaded.scores)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["s.parquet"]
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for path in (tmp_path / "other.parquet", table.path / "manifest.json"):
        with pytest.raises(ValueError, match="is no selection"):
            Selection.load(path)


def test_refuses_what_cannot_be_selected(table: ScoreTable, tmp_path: Path) -> None:
    for keep_ratio in (0, 1.5, -0.1, float("nan"), True, "half"):
        with pytest.raises(ValueError, match=r"want a number in \(0, 1\]"):
            select(table, "top", "length", keep_ratio)  # type: ignore[arg-type]
    for call, message in (
        ({"selector": "top", "by": "length"}, "top wants a keep_ratio"),
        ({"selector": "threshold", "by": "length", "keep_ratio": 0.5}, "threshold decides itself"),
        ({"selector": "threshold:minimum=3,maximum=2", "by": "length"}, "wants minimum <= maximum"),
        ({"selector": "best", "by": "length", "keep_ratio": 0.5}, "has no 'best'; it has beta_window, bottom"),
        ({"selector": "top", "by": "width", "keep_ratio": 0.5}, "no finished column 'width'; finished: length"),
        ({"selector": "top", "keep_ratio": 0.5}, "want by=<column>, one of length, near_duplicate, random"),
        (
            {"selector": "top", "by": "length", "keep_ratio": 0.5, "per": "id"},
            "the group column 'source', got per='id'",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            select(table, **call)
    other = score(write_jsonl(tmp_path / "o.jsonl", make_rows(103, seed=9)), "length", tmp_path / "o")
    with pytest.raises(ValueError, match="score table of another input"):
        select(table, "top", "length", 0.5, within=select(other, "top", keep_ratio=0.5))


def test_random_needs_no_scores(corpus: Path, tmp_path: Path) -> None:
    table = score(corpus, [], tmp_path / "t")
    selection = select(table, "random", keep_ratio=0.5)
    assert selection.n_kept == 52
    assert selection.scores == {}
    write(corpus, selection, tmp_path / "pruned")
    note = json.loads((tmp_path / "pruned" / "dropped.jsonl").read_text().splitlines()[0])["prunekit"]
    assert note["scores"] == {}
    assert note["reason"] == "not drawn by random with seed 0"


def test_nothing_left_to_compete(table: ScoreTable) -> None:
    nothing = select(table, "threshold:minimum=1e9", "length")
    assert nothing.n_kept == 0
    later = select(table, "top", "length", 0.5, "source", nothing)
    assert later.n_kept == 0
    assert later.counts() == nothing.counts() == {"length below the minimum 1e+09": 103}
