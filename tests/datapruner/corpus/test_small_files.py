"""Many small files: chunks span them, and are what they would be of any process that reads one alone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import Source, score, select, write
from datapruner.corpus.chunk_reader import ChunkReader
from datapruner.corpus.chunks import load_chunk_offsets
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import folder_bytes

ROWS = make_rows(60)


def _files(folder: Path, form: str, sizes: list[int], rows: list[dict[str, object]] = ROWS) -> Path:
    folder.mkdir()
    first = 0
    for number, size in enumerate(sizes):
        some, path = rows[first : first + size], folder / f"{number:03d}.{form}"
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(some), path)
        else:
            write_jsonl(path, some)
        first += size
    return folder


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_small_files_share_chunks_and_large_ones_do_not(form: str, tmp_path: Path) -> None:
    # 3 and 4 fit into 8, 5 does not any more; 20 are cut by themselves, and what is left of them goes on
    source = Source(_files(tmp_path / "c", form, [3, 4, 5, 20, 2, 2, 9, 1, 14]), chunk_rows=8)
    chunks = [*source.raw_chunks()]
    lengths = [len(chunk.rows) for chunk in chunks]
    assert lengths == [7, 5, 8, 8, 8, 8, 2, 8, 6]
    assert [chunk.file for chunk in chunks] == [0, 2, 3, 3, 3, 6, 6, 8, 8]
    assert [chunk.start for chunk in chunks] == [sum(lengths[:i]) for i in range(len(lengths))]
    assert [text for chunk in source.chunks() for text in chunk.texts] == [row["text"] for row in ROWS]
    word = "line" if form == "jsonl" else "row"
    assert chunks[4].rows.location(3) == f"{tmp_path / 'c' / f'003.{form}'}, {word} 20"
    assert chunks[4].rows.location(4) == f"{tmp_path / 'c' / f'004.{form}'}, {word} 1"


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_chunk_of_many_files_is_read_by_itself(form: str, tmp_path: Path) -> None:
    source = Source(_files(tmp_path / "c", form, [3] * 20), uid="id", chunk_rows=10)
    table = score(source, ["length", "near_duplicate"], tmp_path / "t")
    offsets = tuple(load_chunk_offsets(table.path))
    assert [offset.rows for offset in offsets] == [9, 9, 9, 9, 9, 9, 6]
    wanted = [source.parsed(chunk).uids for chunk in source.raw_chunks()]
    for index in (6, 0, 3, 4, 5, 1):
        assert source.parsed(ChunkReader(source, offsets)(index)).uids == wanted[index]
    read = ChunkReader(source, offsets)
    assert [source.parsed(read(index)).uids for index in (2, 3, 6, 1)] == [wanted[index] for index in (2, 3, 6, 1)]
    # a part that is gone, as after a kill, comes back with the same bytes
    before = folder_bytes(table.path)
    manifest = json.loads((table.path / "manifest.json").read_text())
    assert manifest["columns"]["near_duplicate"]["complete"]
    again = score(source, ["length", "near_duplicate"], tmp_path / "again", engine="local")
    assert folder_bytes(again.path) == before


def test_bytes_bound_what_is_joined(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": "a" * 900} for _ in range(12)]
    source = Source(_files(tmp_path / "c", "jsonl", [2] * 6, rows), chunk_bytes=3700)
    assert [len(chunk.rows) for chunk in source.raw_chunks()] == [4, 4, 4]
    parquet = Source(_files(tmp_path / "p", "parquet", [2] * 6, rows), chunk_bytes=8200)
    # with what stands beside the texts in so small a file a row counts as 2,048 bytes
    assert [len(chunk.rows) for chunk in parquet.raw_chunks()] == [4, 4, 4]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_output_is_that_of_one_file(form: str, tmp_path: Path) -> None:
    many = Source(_files(tmp_path / "c", form, [3] * 20), uid="id", group="source", chunk_rows=10)
    one = Source(_files(tmp_path / "one", form, [60]), uid="id", group="source")
    outs = []
    for name, source in (("many", many), ("single", one)):
        table = score(source, "length", tmp_path / f"{name}.t")
        assert len([*(table.path / "length").iterdir()]) == (7 if name == "many" else 1)
        outs.append(write(source, select(table, "top", keep_ratio=0.5, per="source"), tmp_path / name))
    for name in (f"kept.{form}", f"dropped.{form}"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    if form == "parquet":
        # chunks are no row groups
        assert pq.ParquetFile(outs[0] / "kept.parquet").num_row_groups == 1


def test_row_groups_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapruner.corpus.formats._arrow.GROUP_ROWS", 16)
    source = Source(_files(tmp_path / "c", "parquet", [60]), chunk_rows=5)
    out = write(source, select(score(source, "length", tmp_path / "t"), "top", keep_ratio=1.0), tmp_path / "out")
    written = pq.ParquetFile(out / "kept.parquet")
    assert [written.metadata.row_group(group).num_rows for group in range(written.num_row_groups)] == [20, 20, 20]
    assert pq.read_table(out / "kept.parquet").to_pylist() == ROWS
