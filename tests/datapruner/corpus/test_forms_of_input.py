"""Every form of input gives the same rows, and what cannot be read is refused where it stands."""

from __future__ import annotations

import pickle
import random
import re
from pathlib import Path

import datasets
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import Source, score, select, write
from datapruner.corpus.chunk_reader import ChunkReader
from datapruner.corpus.fingerprint import difference, fingerprint
from datapruner.corpus.formats.in_memory import HubDataset
from datapruner.corpus.fragments import wrap_in_memory
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.corpus_forms import FORMS, given, packed, records, rows_of
from tests.datapruner.folders import folder_bytes


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(form: str, tmp_path: Path) -> None:
    plain = write_jsonl(tmp_path / "plain.jsonl", rows_of())
    wanted = records(Source(plain))
    path = given(form, tmp_path)
    for chunk_rows in (7, 4096):
        source = Source(path, chunk_rows=chunk_rows)
        assert records(source) == wanted
        # what is sent to a worker is the same source
        assert records(pickle.loads(pickle.dumps(source))) == wanted
    # long enough for the mean row, too short for four of them
    short = Source(path, chunk_bytes=512)
    assert records(short) == wanted
    lengths = [len(chunk.rows) for chunk in short.raw_chunks()]
    assert max(lengths) < 103
    assert lengths == [len(chunk.rows) for chunk in short.raw_chunks(whole=False)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_scored_and_recognised(form: str, tmp_path: Path) -> None:
    source = Source(given(form, tmp_path), uid="id", group="source", chunk_rows=20)
    table = score(source, "length", tmp_path / "scores")
    assert table.scores("length").tolist() == [len(str(row["text"])) for row in rows_of()]
    assert score(source, "length", tmp_path / "scores").scores("length").tolist() == table.scores("length").tolist()
    out = write(source, select(table, "top", "length", 0.5), tmp_path / "pruned")
    kept = datasets.load_dataset(str(out), split="train")
    best = sorted(rows_of(), key=lambda row: -len(str(row["text"])))[:52]
    assert sorted(len(text) for text in kept["text"]) == sorted(len(str(row["text"])) for row in best)
    other = {"text": ["a", "b"], "id": ["1", "2"]}
    assert difference(fingerprint(source), fingerprint(Source(other)))
    with pytest.raises(ValueError, match="is the score table of another input"):
        score(Source(other), "length", tmp_path / "scores")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("harm", ["cut", "flipped", "cut at the end"])
def test_refuses_broken_compressed_files(suffix: str, harm: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    # texts that hardly compress, so that a break in the middle lies behind many lines
    rows: list[dict[str, object]] = [{"text": draw.randbytes(500).hex()} for _ in range(5000)]
    plain = write_jsonl(tmp_path / "plain", rows).read_bytes()
    data = bytearray(packed(plain, suffix))
    if harm == "flipped":
        data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    else:
        data = data[: -3 if harm == "cut at the end" else len(data) // 2]
    path = tmp_path / f"c.jsonl{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}, after line \d+: broken .* data") as error:
        score(path, "length", tmp_path / "out")
    line = int(str(error.value).split("after line ")[1].partition(":")[0])
    assert (2000 if harm == "cut at the end" else 1) < line <= 5000
    assert not (tmp_path / "out").exists()


def test_refuses_a_broken_line_in_the_middle_of_a_gz(tmp_path: Path) -> None:
    lines = write_jsonl(tmp_path / "plain", make_rows(300)).read_bytes().split(b"\n")
    lines[170] = lines[170][:-4]
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(packed(b"\n".join(lines), ".gz"))
    with pytest.raises(ValueError, match=r"c.jsonl.gz, line 171: want a JSON object"):
        score(Source(path, chunk_rows=50), "length", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_line_longer_than_many_blocks(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": letter * size} for letter, size in (("a", 3), ("b", 5 << 20), ("c", 4))]
    path = write_jsonl(tmp_path / "c.jsonl", rows)
    assert [text for _, text in records(Source(path, chunk_bytes=1000))] == [row["text"] for row in rows]
    assert [len(chunk.rows) for chunk in Source(path, chunk_bytes=1000).raw_chunks()] == [1, 1, 1]


def test_chunks_of_bytes_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    # 13 bytes a line; the blank one counts as well
    path.write_bytes(b'{"text":"a"}\n' * 3 + b"\n" + b'{"text":"b"}\n' * 2)
    chunks = list(Source(path, chunk_bytes=27).raw_chunks())
    assert [len(chunk.rows) for chunk in chunks] == [2, 2, 1]
    assert [(c.rows.begin.offset, c.rows.begin.number) for c in chunks] == [(0, 1), (26, 3), (53, 6)]
    assert [len(c.rows) for c in Source(path, chunk_bytes=26).raw_chunks()] == [2, 1, 1, 1]
    assert [len(c.rows) for c in Source(path, chunk_bytes=1).raw_chunks()] == [1] * 5


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".zstd", ".bz2", ".xz"])
@pytest.mark.parametrize("block", [1, 7, 100])
def test_blocks_change_nothing(suffix: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = write_jsonl(tmp_path / "plain", make_rows(40)).read_bytes().splitlines(keepends=True)
    path = tmp_path / f"c.jsonl{suffix}"
    # blank lines at the start, in the middle, where a chunk ends, and no line feed at the end
    data = b"\n" + b"".join(lines[:10]) + b"\n \n" + b"".join(lines[10:]).rstrip()
    path.write_bytes(packed(data, suffix))
    source = Source(path, chunk_rows=5)
    wanted = [(chunk.offset, chunk.rows.contents(), chunk.rows.location(4)) for chunk in source.raw_chunks()]
    assert sum(len(contents) for _, contents, _ in wanted) == 40
    for place, contents, _ in wanted:
        assert data[place.offset :].lstrip().startswith(contents[0])
        assert data[: place.offset].count(b"\n") == place.number - 1
    monkeypatch.setattr("datapruner.corpus.formats._packed.BLOCK", block)
    assert [(c.offset, c.rows.contents(), c.rows.location(4)) for c in source.raw_chunks()] == wanted
    read = ChunkReader(source, tuple(place for place, _, _ in wanted))
    assert [read(index).rows.contents() for index in (3, 1, 7)] == [wanted[index][1] for index in (3, 1, 7)]


def test_scores_of_other_chunks_are_those_of_the_same_rows(tmp_path: Path) -> None:
    """A table keeps the chunks that it was made with."""
    corpus = write_jsonl(tmp_path / "c.jsonl", make_rows(30))
    score(Source(corpus, chunk_bytes=1000), "length", tmp_path / "scores")
    before = folder_bytes(tmp_path / "scores")
    table = score(Source(corpus, chunk_bytes=999, chunk_rows=7), "length", tmp_path / "scores")
    assert folder_bytes(tmp_path / "scores") == before
    assert table.n_rows == 30


def test_a_hub_id_is_a_data_set_and_a_file_there_is_a_file() -> None:
    assert wrap_in_memory("hf://datasets/owner/name").rows == HubDataset("owner/name")  # type: ignore[union-attr]
    assert wrap_in_memory("hf://datasets/owner/name@abc").rows == HubDataset("owner/name", revision="abc")  # type: ignore[union-attr]
    assert wrap_in_memory(["hf://datasets/owner/name"]).rows == HubDataset("owner/name")  # type: ignore[union-attr]
    # a file of a data set is a file
    assert wrap_in_memory("hf://datasets/owner/name/a.jsonl") == "hf://datasets/owner/name/a.jsonl"


def test_remote_hashes_stand_for_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fsspec.open("memory://hashed/c.jsonl", "wb") as file:
        file.write(b'{"text":"a"}\n')
    local = write_jsonl(tmp_path / "c.jsonl", [])
    local.write_bytes(b'{"text":"a"}\n')
    source = Source("memory://hashed/c.jsonl")
    read = fingerprint(source)
    assert difference(read, fingerprint(Source(local))) is None
    monkeypatch.setattr("datapruner.corpus.remote_files.RemoteFile.info", lambda self: {"size": 13, "ETag": '"abc"'})
    tagged = fingerprint(source)
    assert tagged[0]["of"] == "the hash that its server gives"
    assert "is known by its bytes" in str(difference(tagged, read))
    monkeypatch.setattr("datapruner.corpus.remote_files.RemoteFile.info", lambda self: {"size": 13, "ETag": '"abd"'})
    assert "the content of c.jsonl" in str(difference(tagged, fingerprint(source)))


def test_refuses_what_is_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "deep" / "inner").mkdir(parents=True)
    write_jsonl(tmp_path / "deep" / "inner" / "c.jsonl", make_rows(2))
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "c.parquet")
    made = datasets.DatasetDict(train=datasets.Dataset.from_list(rows_of()))
    cases: list[tuple[object, type[Exception], str]] = [
        (tmp_path / "deep", ValueError, "folders inside are not entered: name .*inner"),
        ("memory://nothing/c.jsonl", FileNotFoundError, "memory://nothing/c.jsonl: no such file"),
        ("nonsense://a/c.jsonl", ValueError, "nonsense://a/c.jsonl: want a URL that fsspec knows"),
        ({"text": ["a"], "id": ["b", "c"]}, ValueError, "arrays of one length, got text: 1, id: 2"),
        ({"text": ["a", 2]}, ValueError, "arrays, 'text': want strings, numbers"),
        ({}, ValueError, "at least one array"),
        (made, ValueError, "one split of a data set, got all of train"),
        ({"body": ["a"]}, ValueError, "arrays: want a column 'text', got body"),
        ({"text": ["a", None]}, ValueError, "arrays, row 2: want a string in field 'text', got null"),
        (datasets.Dataset.from_dict({"text": [1]}), ValueError, "data set, row 1: want a string .* got int"),
        ([tmp_path / "c.parquet", "memory://x/c.jsonl"], FileNotFoundError, "no such file"),
    ]
    for path, kind, message in cases:
        with pytest.raises(kind, match=message):
            list(Source(path).identified())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="chunk_bytes of at least 1"):
        Source(tmp_path, chunk_bytes=0)


def test_data_sets_are_known_by_their_rows(tmp_path: Path) -> None:
    rows = rows_of()
    made = datasets.Dataset.from_list(rows)
    same = datasets.concatenate_datasets([made.select(range(40)), made.select(range(40, 103))])
    assert difference(fingerprint(Source(made)), fingerprint(Source(same))) is None
    rows[50]["text"] = str(rows[50]["text"])[::-1]
    other = datasets.Dataset.from_list(rows)
    assert "the content of data set" in str(difference(fingerprint(Source(made)), fingerprint(Source(other))))
    commit = HubDataset("owner/name", revision="0123456789" * 4)
    assert fingerprint(Source(commit))[0]["of"] == "its commit"
    assert difference(fingerprint(Source({"x": np.eye(3)})), fingerprint(Source({"x": np.eye(3) * 2}))), (
        "vectors are content too"
    )
