"""Any chunk by its number: the same rows as in a pass, in whatever order and process they are asked for."""

from __future__ import annotations

import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from datapruner import Source, score
from datapruner.corpus.chunk_reader import ChunkReader
from datapruner.corpus.chunks import Chunk, ChunkOffset, load_chunk_offsets
from datapruner.corpus.formats import _lines, jsonl
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.corpus_forms import FORMS, given, rows_of
from tests.datapruner.folders import folder_bytes


def _texts(source: Source, chunk: Chunk) -> list[str]:
    return source.parsed(chunk).texts


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sizes", [(9, 1 << 30), (4096, 600)])
def test_any_order_gives_the_same_chunks(form: str, sizes: tuple[int, int], tmp_path: Path) -> None:
    source = Source(given(form, tmp_path), chunk_rows=sizes[0], chunk_bytes=sizes[1])
    table = score(source, "length", tmp_path / "scores")
    offsets = load_chunk_offsets(table.path)
    wanted = [_texts(source, chunk) for chunk in source.raw_chunks()]
    assert len(offsets) == len(wanted) > 5
    assert [offset.start for offset in offsets] == [sum(map(len, wanted[:i])) for i in range(len(wanted))]
    read = ChunkReader(source, tuple(offsets), more=("vector",))
    numbers = [*range(len(offsets)), *range(1, len(offsets), 2), len(offsets) - 1, 0]
    random.Random(0).shuffle(shuffled := [*range(len(offsets))])
    for index in (*numbers, *shuffled):
        chunk = read(index)
        assert _texts(source, chunk) == wanted[index]
        assert (chunk.index, chunk.start) == (index, offsets[index].start)
        assert source.vectors(chunk, "vector").shape == (len(wanted[index]), 3)


def test_offsets_by_hand(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(b'{"text":"a"}\n\n{"text":"b"}\n{"text":"c"}')
    (folder / "b.jsonl").write_bytes(b'\n{"text":"d"}\n')
    table = score(Source(folder, chunk_rows=2), "length", tmp_path / "scores")
    # what is left of the first file and the whole of the second are one chunk
    offsets = [ChunkOffset(0, 0, 1, 0, 2), ChunkOffset(0, 27, 4, 2, 2)]
    assert load_chunk_offsets(table.path) == offsets
    assert pq.read_table(table.path / "chunks.parquet").column_names == ["file", "offset", "number", "start", "rows"]
    other = score(Source(folder, chunk_rows=2), "length", tmp_path / "again")
    assert folder_bytes(table.path) == folder_bytes(other.path)
    rows = ChunkReader(Source(folder, chunk_rows=2), tuple(offsets))(1).rows
    assert rows.location(0) == f"{folder / 'a.jsonl'}, line 4"
    assert rows.location(1) == f"{folder / 'b.jsonl'}, line 2"


def _read_one(source: Source, offsets: list[ChunkOffset], index: int) -> list[str]:
    return _texts(source, ChunkReader(source, tuple(offsets))(index))


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "parquet", "arrays", "shuffled data set", "stream"])
def test_another_process_reads_the_same_chunk(form: str, tmp_path: Path) -> None:
    source = Source(given(form, tmp_path), chunk_rows=30)
    offsets = load_chunk_offsets(score(source, "length", tmp_path / "scores").path)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(_read_one, source, offsets, 2).result()
    assert found == [row["text"] for row in rows_of()[60:90]]


def test_a_reader_is_opened_again_where_it_arrives(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, chunk_rows=30)
    read = ChunkReader(source, tuple(load_chunk_offsets(score(source, "length", tmp_path / "scores").path)))
    before = _texts(source, read(0)), _texts(source, read(1))
    sent = pickle.loads(pickle.dumps(read))
    assert (_texts(source, sent(0)), _texts(source, sent(1))) == before


def test_ascending_numbers_go_once_through_a_compressed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.jsonl.gz"
    source = Source(given("jsonl.gz", tmp_path), chunk_rows=10)
    read = ChunkReader(source, tuple(load_chunk_offsets(score(source, "length", tmp_path / "scores").path)))
    begun: list[int] = []
    plain = _lines.read_lines
    monkeypatch.setattr(
        jsonl, "read_lines", lambda file, begin, *more: begun.append(begin.offset) or plain(file, begin, *more)
    )
    for index in (0, 1, 4, 9):
        read(index)
    assert path.exists()
    assert begun == [0]
    read(2)
    assert len(begun) == 2


def test_refuses_offsets_of_something_else(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, chunk_rows=30)
    offsets = load_chunk_offsets(score(source, "length", tmp_path / "scores").path)
    read = ChunkReader(source, tuple(offsets))
    for index in (-1, 4):
        with pytest.raises(ValueError, match=r"want a chunk of \[0, 4\)"):
            read(index)
    other = Source(corpus, chunk_rows=20)
    with pytest.raises(ValueError, match=r"corpus.jsonl: want 30 rows after line or row 0, got 20 after 0: the input"):
        ChunkReader(other, tuple(offsets))(0)
    shorter = write_jsonl(tmp_path / "shorter.jsonl", make_rows(70))
    with pytest.raises(ValueError, match="want 13 rows after line or row 90, got none"):
        ChunkReader(Source(shorter, chunk_rows=30), tuple(offsets))(3)
    stream = datasets.Dataset.from_list(make_rows(70)).to_iterable_dataset()
    with pytest.raises(ValueError, match="want 13 rows after line or row 90, got none"):
        ChunkReader(Source(stream, chunk_rows=30), tuple(offsets))(3)
    with pytest.raises(ValueError, match="want 2 files, got 1"):
        ChunkReader(source, (ChunkOffset(1, 0, 1, 0, 1),))(0)
    with pytest.raises(ValueError, match=r"chunks.parquet: want the places of the chunks"):
        load_chunk_offsets(tmp_path)
