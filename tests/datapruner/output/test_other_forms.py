"""Rows in another form than the input's: the documented types, both ways; what has none is refused with its place."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import Output, ScoreTable, Source, score, select, write
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.corpus_forms import given, rows_of
from tests.datapruner.output.test_output_forms import _unpacked


def all_kept(source: Any, out: Path, form: str, **more: Any) -> Path:
    """Every row of `source` in another form."""
    table = score(source, "random", out.with_name(f"{out.name}.scores"))
    return Path(write(source, select(table, "top", "random", 1.0), Output(out, form=form, **more)))


def from_json(lines: list[str], tmp_path: Path) -> pa.Table:
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    out = all_kept(Source(tmp_path / "c.jsonl", text=None, chunk_rows=2), tmp_path / "out", "parquet")
    return pq.read_table(out / "kept.parquet")


def test_json_becomes_columns_of_one_type(tmp_path: Path) -> None:
    found = from_json(
        [
            '{"text": "a", "whole": 1, "number": 1, "truth": true, "list": [], "object": {"x": 1}, "empty": {}}',
            '{"text": "é", "whole": null, "number": 2, "truth": false, "list": [1.5], "object": {}, "empty": {}}',
            '{"text": "c", "number": 2.5, "truth": null, "list": [2], "object": {"y": {"z": {}}, "x": null}, "l": 1}',
            '{"text": "d", "number": 9007199254740992, "deep": [{"a": {}, "b": [null]}], "nothing": null}',
        ],
        tmp_path,
    )
    types = {field.name: str(field.type) for field in found.schema}
    assert types == {
        "text": "string",
        "whole": "int64",
        "number": "double",
        "truth": "bool",
        "list": "list<element: double>",
        "object": "struct<x: int64>",
        "l": "int64",
        "deep": "list<element: struct<b: list<element: null>>>",
        "nothing": "null",
    }
    assert found["number"].to_pylist() == [1.0, 2.0, 2.5, 2.0**53]
    assert found["whole"].to_pylist() == [1, None, None, None]
    assert found["list"].to_pylist() == [[], [1.5], [2.0], None]
    assert found["object"].to_pylist() == [{"x": 1}, {"x": None}, {"x": None}, None]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ['{"n": 1}', '{"n": 2}', '{"n": 3}', '{"n": "4"}'],
            r"c.jsonl, line 4: want one type for the field 'n' of a table, got '4'",
        ),
        (['{"n": 1}', '{"n": 1}', '{"n": "x"}', '{"n": "y"}'], r"c.jsonl, line 3.*[fF]ield n has incompatible types"),
        (['{"n": true}', '{"n": 1}'], r"c.jsonl, line 2: want one type for the field 'n'"),
        (['{"n": [1, "x"]}', '{"n": []}'], r"c.jsonl, line 1: want one type for the field 'n'"),
        (['{"n": 1}', '{"n": 9223372036854775808}'], r"c.jsonl, line 2: want one type .*, got 9223372036854775808"),
        (
            ['{"n": 1.5}', '{"n": 1}', '{"n": 9007199254740993}'],
            r"c.jsonl, line 3 and after: cannot be rows of a table",
        ),
    ],
)
@pytest.mark.parametrize("shard_rows", [None, 3])
def test_fields_of_several_types_are_named(
    lines: list[str], message: str, shard_rows: int | None, tmp_path: Path
) -> None:
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=message):
        all_kept(
            Source(tmp_path / "c.jsonl", text=None, chunk_rows=2), tmp_path / "out", "parquet", shard_rows=shard_rows
        )
    assert not (tmp_path / "out").exists()


def test_columns_become_json(tmp_path: Path) -> None:
    utc = datetime.UTC
    columns = {
        "text": ["a"],
        "whole": pa.array([2**64 - 1], pa.uint64()),
        "nan": [float("nan")],
        "infinite": [float("inf")],
        "half": pa.array([1.5], pa.float16()),
        "time": pa.array([datetime.datetime(2020, 1, 2, 3, 4, 5, 6)], pa.timestamp("us")),
        "fine": pa.array([1], pa.timestamp("ns")),
        "zone": pa.array([datetime.datetime(2020, 1, 2, tzinfo=utc)], pa.timestamp("ms", "UTC")),
        "date": [datetime.date(2020, 1, 2)],
        "clock": [datetime.time(1, 2, 3)],
        "span": [datetime.timedelta(seconds=90, milliseconds=500)],
        "decimal": [Decimal("1.10")],
        "bytes": [b"\xff\x00"],
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "struct": [{"x": None, "y": [1.5]}],
        "kind": pa.array(["a"]).dictionary_encode(),
        "nothing": pa.nulls(1),
    }
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    out = all_kept(Source(tmp_path / "c.parquet"), tmp_path / "out", "jsonl")
    assert json.loads((out / "kept.jsonl").read_bytes()) == {
        "text": "a",
        "whole": 2**64 - 1,
        "nan": None,
        "infinite": None,
        "half": 1.5,
        "time": "2020-01-02T03:04:05.000006",
        "fine": "1970-01-01T00:00:00.000000001",
        "zone": "2020-01-02T00:00:00+00:00",
        "date": "2020-01-02",
        "clock": "01:02:03",
        "span": 90.5,
        "decimal": "1.10",
        "bytes": "/wA=",
        "map": [["k", 1]],
        "struct": {"x": None, "y": [1.5]},
        "kind": "a",
        "nothing": None,
    }


@pytest.mark.parametrize(
    "form", ["jsonl.gz", "folder", "parquet", "memory parquet", "arrays", "data set", "loaded stream"]
)
def test_any_input_there_and_back(form: str, tmp_path: Path) -> None:
    source = Source(given(form, tmp_path), uid="id", chunk_rows=20)
    selection = select(score(source, "length", tmp_path / "scores"), "top", "length", 0.5)
    wanted = [{name: row[name] for name in row} for row in (rows_of()[i] for i in selection.kept)]
    lines, table = (
        write(source, selection, Output(tmp_path / f, form=f, index=True)) for f in ("jsonl.zst", "parquet")
    )
    read = [json.loads(line) for line in _unpacked(lines / "kept.jsonl.zst").splitlines()]
    assert [{**row, "vector": pytest.approx(row["vector"], rel=1e-6)} for row in wanted] == read
    again = pq.read_table(table / "kept.parquet").to_pylist()
    assert [{**row, "vector": pytest.approx(row["vector"], rel=1e-6)} for row in wanted] == again
    for folder, notes in (
        (lines, [json.loads(line)["prunekit"] for line in _unpacked(lines / "dropped.jsonl.zst").splitlines()]),
        (table, pq.read_table(table / "dropped.parquet")["prunekit"].to_pylist()),
    ):
        assert [note["row"] for note in notes] == selection.dropped.tolist()
        assert [note["reason"] for note in notes] == [selection.reason(row) for row in selection.dropped]
        assert len(datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))) == len(wanted)


def test_the_same_form_keeps_every_byte(corpus: Path, table: ScoreTable, tmp_path: Path) -> None:
    selection = select(table, "top", "length", 0.5)
    plain, named = (
        write(corpus, selection, tmp_path / "a"),
        write(corpus, selection, Output(tmp_path / "b", form="jsonl")),
    )
    assert (plain / "kept.jsonl").read_bytes() == (named / "kept.jsonl").read_bytes()
    assert "in the order and form of the input" in (plain / "README.md").read_text()
    assert "in the order of the input, as jsonl" in (named / "README.md").read_text()
    with pytest.raises(ValueError, match=r"want a form of jsonl, .*, parquet, got 'csv'"):
        Output(tmp_path / "c", form="csv")


def test_tables_of_text_become_lines_and_columns(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text('text,n\n"a, b",1\nc,2\n')
    assert (all_kept(tmp_path / "c.csv", tmp_path / "j", "jsonl") / "kept.jsonl").read_text() == (
        '{"text": "a, b", "n": "1"}\n{"text": "c", "n": "2"}\n'
    )
    found = pq.read_table(all_kept(tmp_path / "c.csv", tmp_path / "p", "parquet") / "kept.parquet")
    assert found.to_pydict() == {"text": ["a, b", "c"], "n": ["1", "2"]}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_kept_rows_with_notes(form: str, tmp_path: Path) -> None:
    page = "the dome was designed by a master builder who had never drawn a plan"
    rows = [{"id": "a", "text": f"{page} at all"}, {"id": "b", "text": page}, {"id": "c", "text": "tea grows on hills"}]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows + make_rows(5)), uid="id")
    table = score(source, "near_duplicate:ngram=3", tmp_path / "t")
    out = write(
        source, select(table, "threshold:maximum=0.8", "near_duplicate"), Output(tmp_path / "o", form=form, noted=True)
    )

    def read(side: str) -> list[dict]:
        path = out / f"{side}.{form}"
        return pq.read_table(path).to_pylist() if form == "parquet" else [*map(json.loads, open(path))]

    (gone,) = read("dropped")
    assert gone["prunekit"]["scores"]["near_duplicate.nearest_uid"] == "a"
    kept = read("kept")
    assert [row["id"] for row in kept][:2] == ["a", "c"]
    clusters = [row["prunekit"]["scores"]["near_duplicate.cluster"] for row in kept]
    assert clusters == [row["prunekit"]["row"] for row in kept]
    assert gone["prunekit"]["scores"]["near_duplicate.cluster"] == clusters[0] == 0
    assert [row["prunekit"]["uid"] for row in kept] == [row["id"] for row in kept]
    assert {row["prunekit"]["reason"] for row in kept} == {""}
