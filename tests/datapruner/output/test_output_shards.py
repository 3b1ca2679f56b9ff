"""Rows in shards: exactly so many kept rows a file, the same bytes whoever writes them and however chunks are found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import Output, ScoreTable, Source, prune, score, select, write
from datapruner.output import shards
from datapruner.output.shards import Shard, shards_of
from datapruner.selection.selection import Selection
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import folder_bytes


@pytest.fixture
def selection(table: ScoreTable) -> Selection:
    return select(table, "top", "length", 0.5)


def parts(folder: Path) -> list[list[dict]]:
    """The rows of each shard."""
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in sorted(folder.iterdir())]


def test_bounds_are_those_of_the_kept_rows(selection: Selection) -> None:
    kept = selection.kept.tolist()
    assert len(kept) == 52
    found = shards_of(selection, 20)
    assert found == [Shard(0, 0, kept[20]), Shard(1, kept[20], kept[40]), Shard(2, kept[40], 103)]
    assert shards_of(selection, 52) == shards_of(selection, 1000) == [Shard(0, 0, 103)]
    assert len(shards_of(selection, 51)) == 2


def test_the_same_rows_as_in_one_file(corpus: Path, selection: Selection, table: ScoreTable, tmp_path: Path) -> None:
    source = Source(corpus, chunk_rows=10)
    one = write(source, selection, tmp_path / "one")
    made = {}
    for name, scores in (("pass", None), ("table", table.path)):
        out = made[name] = write(source, selection, Output(tmp_path / name, shard_rows=20, scores=scores, report=False))
        assert [len(rows) for rows in parts(out / "kept")] == [20, 20, 12]
        for side in ("kept", "dropped"):
            lines = b"".join(path.read_bytes() for path in sorted((out / side).iterdir()))
            assert lines == (one / f"{side}.jsonl").read_bytes()
        # what is dropped lies between what is kept
        rows = [[row["prunekit"]["row"] for row in part] for part in parts(out / "dropped")]
        bounds = [(shard.first, shard.end) for shard in shards_of(selection, 20)]
        assert all(first <= row < end for (first, end), some in zip(bounds, rows, strict=True) for row in some)
    with_places, found = (folder_bytes(made[name]) for name in ("pass", "table"))
    # the recipe may know more columns with the table
    assert with_places | {"recipe.yaml": found["recipe.yaml"]} == found


def test_reports_and_cards_are_those_of_one_file(
    corpus: Path, selection: Selection, table: ScoreTable, tmp_path: Path
) -> None:
    source = Source(corpus, uid="id")
    one = write(source, selection, Output(tmp_path / "one", scores=table.path))
    many = write(source, selection, Output(tmp_path / "many", scores=table.path, shard_rows=9, dropped=False))
    assert (many / "report.html").read_bytes() == (one / "report.html").read_bytes()
    assert "  data_files: kept/**\n" in (many / "README.md").read_text()
    assert not (many / "dropped").exists()


def test_chunks_are_known_to_the_table(
    corpus: Path, selection: Selection, table: ScoreTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    raw = Source.raw_chunks
    monkeypatch.setattr(Source, "raw_chunks", lambda self, *a, **k: (passes.append(1), raw(self, *a, **k))[1])
    write(corpus, selection, Output(tmp_path / "out", scores=table.path, shard_rows=10))
    assert not passes
    write(corpus, selection, Output(tmp_path / "again", shard_rows=10, report=False))
    assert len(passes) == 1


def test_processes_write_the_same_bytes(tmp_path: Path) -> None:
    source = Source(write_jsonl(tmp_path / "c.jsonl", make_rows(60)), uid="id", chunk_rows=7)
    kept = prune(source, "length", "top", 0.5, Output(tmp_path / "one", form="jsonl.gz", shard_rows=8))
    again = Output(tmp_path / "two", form="jsonl.gz", shard_rows=8, workers=2, scores=tmp_path / "one.scores")
    found = folder_bytes(write(source, kept, again))
    assert len([name for name in found if name.startswith("kept/")]) == 4
    assert found | {"recipe.yaml": b""} == folder_bytes(tmp_path / "one") | {"recipe.yaml": b""}


def test_parquet_and_skipped_rows(tmp_path: Path) -> None:
    rows = make_rows(40)
    lines = [json.dumps(row) for row in rows]
    lines[5], lines[20] = "no json", '{"id": "x"}'
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    source = Source(tmp_path / "c.jsonl", uid="id", on_error="skip", chunk_rows=8)
    with pytest.warns(UserWarning, match="2 rows were skipped"):
        kept = prune(source, "length", "top", 0.5, Output(tmp_path / "out", shard_rows=7))
    assert [len(part) for part in parts(tmp_path / "out" / "kept")] == [7, 7, 5]
    wanted = [row["id"] for place, row in enumerate(rows) if place not in (5, 20)]
    assert [row["id"] for part in parts(tmp_path / "out" / "kept") for row in part] == [wanted[i] for i in kept.kept]
    assert len((tmp_path / "out" / "skipped.jsonl").read_text().splitlines()) == 2
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet", row_group_size=9)
    table = score(Source(tmp_path / "c.parquet", chunk_rows=6), "length", tmp_path / "t")
    out = write(tmp_path / "c.parquet", select(table, "top", "length", 0.5), Output(tmp_path / "p", shard_rows=7))
    assert [pq.read_metadata(path).num_rows for path in sorted((out / "kept").iterdir())] == [7, 7, 6]
    joined = pa.concat_tables(pq.read_table(path) for path in sorted((out / "kept").iterdir()))
    assert joined.to_pylist() == [rows[i] for i in select(table, "top", "length", 0.5).kept]


def test_nothing_kept_is_one_empty_shard(table: ScoreTable, corpus: Path, tmp_path: Path) -> None:
    out = write(corpus, select(table, "threshold:minimum=1e9", "length"), Output(tmp_path / "out", shard_rows=5))
    assert [len(rows) for rows in (*parts(out / "kept"), *parts(out / "dropped"))] == [0, 103]


def test_what_cannot_be_shards_is_refused(selection: Selection, corpus: Path, tmp_path: Path) -> None:
    from PIL import Image

    for given, message in (
        ({"workers": 2}, "want shard_rows for 2 workers"),
        ({"shard_rows": 0}, "want shard_rows and workers of at least 1, got 0 and 1"),
        ({"shard_rows": 3, "workers": 0}, "want shard_rows and workers of at least 1, got 3 and 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Output(tmp_path / "out", **given)
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "photos" / "a.png")
    images = select(score(tmp_path / "photos", "random", tmp_path / "photo_scores"), "top", "random", 1.0)
    for output, message in (
        (Output(tmp_path / "out", shard_rows=2), "images are written as files: want no shard_rows"),
        (Output(tmp_path / "out", form="parquet"), "images are written as files: want no form"),
    ):
        with pytest.raises(ValueError, match=message):
            write(tmp_path / "photos", images, output)
    longer = write_jsonl(tmp_path / "longer.jsonl", make_rows(104))
    with pytest.raises(ValueError, match="the selection is of another input"):
        write(longer, selection, Output(tmp_path / "out", shard_rows=20))
    assert not (tmp_path / "out").exists()


def test_a_shard_that_fails_leaves_nothing(
    corpus: Path, selection: Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write(corpus, selection, Output(tmp_path / "out", shard_rows=20))
    before, work = folder_bytes(tmp_path), shards.ShardWriter.__call__

    def fails(self: shards.ShardWriter, shard: Shard) -> Shard:
        work(self, shard)
        if shard.number == 1:
            raise OSError("no room")
        return shard

    monkeypatch.setattr(shards.ShardWriter, "__call__", fails)
    with pytest.raises(OSError, match="no room"):
        write(corpus, selection, Output(out, shard_rows=20, overwrite=True))
    assert folder_bytes(tmp_path) == before
    assert not [path for path in tmp_path.rglob(".*") if "partial" in path.name]
