"""Shards whose columns are not quite those of the first: matched by name, or refused before anything is scored."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from datapruner import Source, prune, score
from datapruner.cli.commands import app
from datapruner.recipe.dry_run import plan
from datapruner.recipe.recipe import Output, Recipe, Rule
from datapruner.scoring.score_table import ScoreTable

TEXTS = ["one text", "two", "three texts"]


def _write(folder: Path, **tables: pa.Table) -> Path:
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def _kept(folder: Path, out: Path) -> list[dict[str, object]]:
    prune(Source(folder, chunk_rows=2), "length", "top", 1.0, Output(out))
    return pq.read_table(out / "kept.parquet").to_pylist()


def test_columns_are_matched_by_name(tmp_path: Path) -> None:
    a = pa.table({"text": TEXTS, "n": pa.array([1, 2, 3], pa.int32()), "tag": pa.nulls(3)})
    # another order, a larger type, one column more and one less
    b = pa.table({"more": [True] * 3, "n": [2**40, 5, 6], "text": pa.array(TEXTS, pa.large_string())})
    c = pa.table({"tag": ["x", None, "z"], "text": pa.array(TEXTS).dictionary_encode()})
    found = _kept(_write(tmp_path / "c", a=a, b=b, c=c), tmp_path / "out")
    assert found[0] == {"text": "one text", "n": 1, "tag": None, "more": None}
    assert found[3] == {"text": "one text", "n": 2**40, "tag": None, "more": True}
    assert found[8] == {"text": "three texts", "n": None, "tag": "z", "more": None}
    # what is written is read again
    assert [text for chunk in Source(tmp_path / "out" / "kept.parquet").chunks() for text in chunk.texts] == TEXTS * 3


def test_another_order_keeps_the_first_schema(tmp_path: Path) -> None:
    a = pa.table({"text": TEXTS, "n": [1, 2, 3]}).replace_schema_metadata({"about": "kept"})
    _write(tmp_path / "c", a=a, b=a.select(["n", "text"]).replace_schema_metadata(None))
    assert len(_kept(tmp_path / "c", tmp_path / "out")) == 6
    schema = pq.read_schema(tmp_path / "out" / "kept.parquet")
    assert (schema.names, schema.metadata[b"about"]) == (["text", "n"], b"kept")


def test_views_are_read_and_written(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array(TEXTS, pa.string_view()), "b": pa.array([b"x"] * 3, pa.binary_view())})
    plain = pa.table({"text": TEXTS, "b": [b"y"] * 3})
    found = _kept(_write(tmp_path / "c", a=table, b=plain), tmp_path / "out")
    assert [row["text"] for row in found] == TEXTS * 2
    assert [row["b"] for row in found] == [b"x"] * 3 + [b"y"] * 3


DOUBLE = pa.Table.from_arrays([pa.array(TEXTS), pa.array([1, 2, 3]), pa.array([4, 5, 6])], names=["text", "n", "n"])
REFUSED = {
    "unlike types": (pa.table({"text": TEXTS, "n": ["1", "2", "3"]}), "b.parquet: want the columns of .*a.parquet"),
    "one name twice": (DOUBLE, "b.parquet: want columns of unlike names, got 'n' 2 times"),
    "no text": (pa.table({"n": [1, 2, 3]}), "b.parquet: want a column 'text', got n"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_scored(case: str, tmp_path: Path) -> None:
    table, message = REFUSED[case]
    folder = _write(tmp_path / "c", a=pa.table({"text": TEXTS, "n": [1, 2, 3]}), b=table)
    with pytest.raises(ValueError, match=message):
        score(folder, "length", tmp_path / "t")
    recipe = Recipe(Source(folder), ("length",), (Rule("top", by="length", keep=0.5),), Output(tmp_path / "out"))
    with pytest.raises(ValueError, match=message):
        plan(recipe)
    options = ["--scorer", "length", "--out", str(tmp_path / "out"), "--keep-ratio", "0.5", "--dry-run"]
    told = CliRunner().invoke(app, ["prune", str(folder), *options])
    assert (told.exit_code, len(told.stderr.splitlines())) == (2, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_two_columns_of_one_name_in_memory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="table: want columns of unlike names, got 'n' 2 times"):
        score(DOUBLE, "length", tmp_path / "t")


def test_a_field_that_one_shard_lacks_is_told_before_scoring(tmp_path: Path) -> None:
    a, b = pa.table({"text": TEXTS, "n": [1, 2, 3]}), pa.table({"text": TEXTS})
    with pytest.raises(ValueError, match="b.parquet: want a column 'n', got text"):
        score(_write(tmp_path / "c", a=a, b=b), ["length", "field:name=n"], tmp_path / "t")
    assert not (tmp_path / "t").exists()
    assert ScoreTable(score(tmp_path / "c", "length", tmp_path / "t").path).n_rows == 6
