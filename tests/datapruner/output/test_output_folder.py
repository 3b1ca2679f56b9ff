"""Writing what is kept and dropped, and `prune`, the three steps in one."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import Output, ScoreTable, Source, prune, score, select, write
from datapruner.output.report.page import render
from prunekernels.io.outputs import atomic_folder
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import folder_bytes


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
        ".prunekit.json",
        "README.md",
        "dropped.jsonl",
        "kept.jsonl",
        "recipe.yaml",
        "report.html",
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
        "uid": selection.uid(1),
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
    (tmp_path / ".pruned.partial-0123456789abcdef").mkdir()

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("datapruner.output.write.dataset_card", full)
    with pytest.raises(OSError, match="No space left"):
        write(corpus, selection, Output(out, overwrite=True))
    with pytest.raises(OSError, match="No space left"):
        write(corpus, selection, tmp_path / "new")
    assert folder_bytes(tmp_path) == before
    # what an earlier killed process left is gone too
    assert not list(tmp_path.glob(".*"))


def test_a_write_that_is_under_way_is_left_alone(corpus: Path, table: ScoreTable, tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "pruned", "datapruner output", overwrite=True) as partial:
        (partial / "half").write_text("done")
        write(corpus, select(table, "top", "length", 0.2), tmp_path / "pruned")
        assert (partial / "half").exists()
    assert sorted(path.name for path in (tmp_path / "pruned").iterdir()) == [".prunekit.json", "half"]
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
    write(source, steps, Output(tmp_path / "three", scores=tmp_path / "scores"))
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
        ((corpus, "length", "top", 0.5, out, "nowhere"), "want a field 'nowhere'"),
        ((corpus, "length", "top", 0.5, tmp_path / "full"), "is not empty"),
        ((corpus, "lengths", "top", 0.5, out), "has no 'lengths'"),
        ((corpus, "perplexity:model=/nowhere/at/all", "top", 0.5, out), "want the folder or hub id of a checkpoint"),
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


@pytest.mark.parametrize("chunk_rows", [1, 7, 4096])
def test_the_report_that_write_makes_is_the_one_of_a_pass_of_its_own(chunk_rows: int, tmp_path: Path) -> None:
    source = Source(write_jsonl(tmp_path / "c.jsonl", make_rows(60)), chunk_rows=chunk_rows)
    table = score(source, ["length", "near_duplicate"], tmp_path / "t")
    selection = select(table, "middle", "length", 0.5)
    folder = write(source, selection, Output(tmp_path / "out", scores=tmp_path / "t"))
    assert (folder / "report.html").read_text(encoding="utf-8") == render(selection, source, table)
    assert "Texts are left out" not in render(selection, source, table)
