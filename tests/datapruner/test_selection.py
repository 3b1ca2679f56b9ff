"""Selecting, combining, saving and writing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from datapruner import Candidates, Output, ScoreTable, Selection, Source, prune, score, select, write
from datapruner.files import new_folder
from datapruner.selectors.threshold import Threshold
from datapruner.uids import hash64
from prunekernels import budget
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.test_table import folder_bytes


@pytest.fixture
def table(corpus: Path, tmp_path: Path) -> ScoreTable:
    source = Source(corpus, uid="id", group="source", chunk_rows=20)
    return score(source, ["length", "random", "near_duplicate"], tmp_path / "t")


def test_worked_by_hand(tmp_path: Path) -> None:
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
    scores = torch.tensor([0.1, 0.3, 0.7, 0.70001, 0.09999])
    given = Candidates(scores, hash64("abcde"), torch.zeros(5, dtype=torch.int64))
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
def test_exact_counts(table: ScoreTable, selector: str, keep_ratio: float) -> None:
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


@pytest.mark.parametrize("selector", ["top", "bottom", "random:seed=4"])
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


def test_saved_and_loaded(table: ScoreTable, tmp_path: Path) -> None:
    first = select(table, "threshold:minimum=60", "length")
    for selection in (
        select(table, "middle", "random", 0.3, "source", first),
        select(table, "top", "length", 1.0),
        first,
    ):
        selection.save(tmp_path / "deep" / "s.parquet")
        loaded = Selection.load(tmp_path / "deep" / "s.parquet")
        assert (loaded.codes == selection.codes).all()
        assert loaded.codes.dtype == np.int32
        assert (loaded.reasons, loaded.input, loaded.steps) == (selection.reasons, selection.input, selection.steps)
        assert loaded.kept_uids == selection.kept_uids == [f"doc-{row}" for row in selection.kept]
        assert loaded.scores.keys() == selection.scores.keys()
        assert all((loaded.scores[name] == selection.scores[name]).all() for name in loaded.scores)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["s.parquet"]
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for path in (tmp_path / "other.parquet", table.path / "manifest.json"):
        with pytest.raises(ValueError, match="is no selection"):
            Selection.load(path)


def test_refuses(table: ScoreTable, tmp_path: Path) -> None:
    for keep_ratio in (0, 1.5, -0.1, float("nan"), True, "half"):
        with pytest.raises(ValueError, match=r"want a number in \(0, 1\]"):
            select(table, "top", "length", keep_ratio)  # type: ignore[arg-type]
    for call, message in (
        ({"selector": "top", "by": "length"}, "top wants a keep_ratio"),
        ({"selector": "threshold", "by": "length", "keep_ratio": 0.5}, "threshold decides itself"),
        ({"selector": "threshold:minimum=3,maximum=2", "by": "length"}, "wants minimum <= maximum"),
        ({"selector": "best", "by": "length", "keep_ratio": 0.5}, "has no 'best'; it has bottom"),
        ({"selector": "top", "by": "width", "keep_ratio": 0.5}, "no finished column 'width'; finished: length"),
        ({"selector": "top", "keep_ratio": 0.5}, "want by=<column>, one of length, near_duplicate, random"),
        (
            {"selector": "top", "by": "length", "keep_ratio": 0.5, "per": "id"},
            "the group column 'source', got per='id'",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            select(table, **call)  # type: ignore[arg-type]
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


def test_jsonl_is_written_byte_for_byte(tmp_path: Path) -> None:
    lines = [
        b'{"text":"a","n":1.10}\r\n',
        b'{ "n": [1, {"x": null}], "text": "caf\\u00e9 \xc3\xa9" }\n',
        b"\n",
        b'{"text": "bb", "prunekit": "mine"}  \n',
        b'{"text": "ccc", "\\u0070runekit": 1, "prunekit_2": {}}\n',
        b'{"text": "a", "text": "dddd"}',
    ]
    (tmp_path / "c.jsonl").write_bytes(b"".join(lines))
    source = Source(tmp_path / "c.jsonl", chunk_rows=2)
    table = score(source, "length", tmp_path / "t")
    selection = select(table, "bottom", keep_ratio=0.4)
    out = write(source, selection, tmp_path / "pruned")
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "dropped.jsonl",
        "kept.jsonl",
        "selection.parquet",
    ]
    assert (out / "kept.jsonl").read_bytes() == lines[0] + lines[3]
    dropped = (out / "dropped.jsonl").read_bytes().splitlines(keepends=True)
    # the line as it stood, but for its closing brace
    for line, original in zip(dropped, (lines[1], lines[4], lines[5]), strict=True):
        assert line.startswith(original.rstrip()[:-1].rstrip() + b', "prunekit')
    rows = [json.loads(line) for line in dropped]
    assert rows[0]["prunekit"] == {
        "row": 1,
        "uid": selection.uids[1].as_py(),
        "reason": "length above 2, the highest that is kept",
        "scores": {"length": 6.0},
    }
    assert rows[1]["prunekit"] == 1
    assert rows[1]["prunekit_3"]["row"] == 3
    everything = select(table, "top", keep_ratio=1.0)
    write(source, everything, tmp_path / "all")
    assert (tmp_path / "all" / "kept.jsonl").read_bytes() == b"".join([*lines[:2], *lines[3:], b"\n"])
    assert (tmp_path / "all" / "dropped.jsonl").read_bytes() == b""


def test_parquet_keeps_its_schema(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            pa.field("n", pa.int16(), metadata={"unit": "cm"}),
            ("text", pa.dictionary(pa.int32(), pa.string())),
            ("tags", pa.list_(pa.string())),
            ("prunekit", pa.string()),
        ],
        metadata={"made": "by hand"},
    )
    rows = [{"n": i, "text": "x" * i, "tags": ["a"] * (i % 3), "prunekit": None} for i in range(1, 11)]
    original = pa.Table.from_pylist(rows, schema)
    pq.write_table(original, tmp_path / "c.parquet", row_group_size=4)
    original = pq.read_table(tmp_path / "c.parquet")
    source = Source(tmp_path / "c.parquet", chunk_rows=3)
    selection = prune(source, "length", "middle", 0.5, tmp_path / "pruned")
    kept = pq.read_table(tmp_path / "pruned" / "kept.parquet")
    assert kept.schema.equals(original.schema, check_metadata=True)
    assert kept.to_pylist() == [rows[i] for i in selection.kept]
    dropped = pq.read_table(tmp_path / "pruned" / "dropped.parquet")
    assert dropped.column_names == ["n", "text", "tags", "prunekit", "prunekit_2"]
    assert dropped.drop_columns("prunekit_2").to_pylist() == [rows[i] for i in selection.dropped]
    note = dropped.column("prunekit_2")[0].as_py()
    assert note["reason"] == selection.reason(0) == "length below 3, the lowest that is kept"
    assert note["scores"] == {"length": 1.0}


def test_the_output_folder_is_replaced_only_when_asked(corpus: Path, table: ScoreTable, tmp_path: Path) -> None:
    small, large = select(table, "top", "length", 0.2), select(table, "top", "length", 0.8)
    out = write(corpus, small, tmp_path / "pruned")
    before = folder_bytes(out)
    with pytest.raises(ValueError, match="pruned is not empty: want a new folder, or overwrite=True"):
        write(corpus, large, out)
    assert folder_bytes(out) == before
    write(corpus, large, Output(out, overwrite=True, dropped=False))
    assert len((out / "kept.jsonl").read_text().splitlines()) == 83
    assert not (out / "dropped.jsonl").exists()
    for folder in (corpus.parent, corpus.parent.parent):
        with pytest.raises(ValueError, match="holds the input"):
            write(corpus, small, Output(folder, overwrite=True))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="want a folder or a free name"):
        write(corpus, small, Output(tmp_path / "file", overwrite=True))
    assert not list(tmp_path.glob(".*"))


def test_a_write_that_fails_leaves_nothing(
    corpus: Path, table: ScoreTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = select(table, "top", "length", 0.2)
    out = write(corpus, selection, tmp_path / "pruned")
    before = folder_bytes(tmp_path)
    (tmp_path / ".pruned.partial-abandoned").mkdir()

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("datapruner.card.render", full)
    with pytest.raises(OSError, match="No space left"):
        write(corpus, selection, Output(out, overwrite=True))
    with pytest.raises(OSError, match="No space left"):
        write(corpus, selection, tmp_path / "new")
    assert folder_bytes(tmp_path) == before
    # what an earlier killed process left is gone too
    assert not list(tmp_path.glob(".*"))


def test_a_write_that_is_under_way_is_left_alone(corpus: Path, table: ScoreTable, tmp_path: Path) -> None:
    with new_folder(tmp_path / "pruned", overwrite=True) as partial:
        (partial / "half").write_text("done")
        write(corpus, select(table, "top", "length", 0.2), tmp_path / "pruned")
        assert (partial / "half").exists()
    assert [path.name for path in (tmp_path / "pruned").iterdir()] == ["half"]
    assert not list(tmp_path.glob(".*"))


def test_scores_do_not_lie_in_the_output(corpus: Path, tmp_path: Path) -> None:
    output = Output(tmp_path / "out", overwrite=True, scores=tmp_path / "out" / "scores")
    with pytest.raises(ValueError, match="holds the input .*scores"):
        prune(corpus, "length", "top", 0.5, output)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_prune_is_the_three_steps(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, group="source", chunk_rows=25)
    selection = prune(source, "near_duplicate", "top", 0.5, tmp_path / "one", per="source")
    table = score(source, "near_duplicate", tmp_path / "scores")
    steps = select(table, "top", "near_duplicate", 0.5, per="source")
    write(source, steps, tmp_path / "three")
    assert (selection.codes == steps.codes).all()
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "three")
    assert folder_bytes(tmp_path / "one.scores") == folder_bytes(tmp_path / "scores")
    # another ratio scores nothing again
    written = (tmp_path / "one.scores" / "near_duplicate" / "00000000.parquet").stat().st_mtime_ns
    prune(source, "near_duplicate", "top", 0.2, Output(tmp_path / "one", overwrite=True))
    assert (tmp_path / "one.scores" / "near_duplicate" / "00000000.parquet").stat().st_mtime_ns == written


def test_prune_refuses_before_it_scores(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    before = folder_bytes(tmp_path)
    out = tmp_path / "out"
    for call, message in (
        ((corpus, "length", "top", 0, out), "keep_ratio is the fraction"),
        ((corpus, "length", "top", 1.5, out), "keep_ratio is the fraction"),
        ((corpus, "length", "top", 0.5, out, "source"), "want the source's group column"),
        ((corpus, "length", "top", 0.5, tmp_path / "full"), "is not empty"),
        ((corpus, "lengths", "top", 0.5, out), "has no 'lengths'"),
        ((corpus, "perplexity:model=/nowhere/at/all", "top", 0.5, out), "hub id of a causal language model"),
        ((Source(corpus, uid="source"), "length", "top", 0.5, out), "was already used in"),
        ((Source(corpus, text="body"), "length", "top", 0.5, out), "want a field 'body'"),
    ):
        with pytest.raises(ValueError, match=message):
            prune(*call)  # type: ignore[arg-type]
        assert folder_bytes(tmp_path) == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "full"]


def test_the_card_says_where_rows_came_from(corpus: Path, table: ScoreTable, tmp_path: Path) -> None:
    first = select(table, "threshold:minimum=60", "length")
    out = write(corpus, select(table, "middle", "random", 0.5, "source", first), tmp_path / "pruned")
    card = (out / "README.md").read_text()
    kept = len((out / "kept.jsonl").read_text().splitlines())
    assert f"{kept} of 103 rows are kept" in card
    assert "  data_files: kept.jsonl" in card
    assert table.manifest["input"]["files"][0]["blake2b"] in card
    assert "1. `threshold:seed=0,minimum=60.0,maximum=None` by `length`" in card
    assert "2. `middle:seed=0` by `random`, keep_ratio 0.5, inside each `source`" in card
    assert str(tmp_path) not in card
