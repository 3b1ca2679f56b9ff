"""Reading: chunks, uids, and what is refused where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import Source, score
from datapruner.corpus.uids import SeenHashes, hash64
from tests.datapruner.conftest import make_rows, write_jsonl


def _identified(source: Source) -> tuple[list[str], list[str]]:
    chunks = list(source.identified())
    return [uid for chunk in chunks for uid in chunk.uids], [text for chunk in chunks for text in chunk.texts]


def test_rows_uids_and_groups_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\n\n  \r\n{"text":"b"}\r\n{"text": "a"}')
    chunks = list(Source(path, chunk_rows=2).raw_chunks())
    assert [chunk.start for chunk in chunks] == [0, 2]
    # blank lines are no rows, and yet they count as lines
    assert [chunk.rows.location(0) for chunk in chunks] == [f"{path}, line 1", f"{path}, line 5"]
    uids, texts = _identified(Source(path, chunk_rows=2))
    assert texts == ["a", "b", "a"]
    key = f"{int(hash64(['a'])[0]):016x}"
    assert uids[0] == f"{key}-0"
    assert uids[2] == f"{key}-1"


@pytest.mark.parametrize("chunk_rows", [1, 2, 50, 102, 103, 4096])
def test_chunks_change_nothing(corpus: Path, tmp_path: Path, chunk_rows: int) -> None:
    rows = make_rows(103)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet", row_group_size=7)
    uids, texts = _identified(Source(corpus, chunk_rows=chunk_rows))
    assert texts == [row["text"] for row in rows]
    assert len(set(uids)) == 103
    parquet = Source(tmp_path / "c.parquet", chunk_rows=chunk_rows)
    assert _identified(parquet) == (uids, texts)
    lengths = [len(chunk.rows) for chunk in parquet.raw_chunks()]
    assert all(length == chunk_rows for length in lengths[:-1])
    given, _ = _identified(Source(corpus, uid="id", group="source", chunk_rows=chunk_rows))
    assert given == [row["id"] for row in rows]


def test_a_folder_stands_for_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write_jsonl(folder / "b.jsonl", make_rows(5, seed=1))
    write_jsonl(folder / "a.jsonl", make_rows(4, seed=2))
    (folder / "notes.txt").write_text("no rows")
    texts = [row["text"] for row in (*make_rows(4, seed=2), *make_rows(5, seed=1))]
    assert _identified(Source(folder, chunk_rows=3))[1] == texts
    assert _identified(Source([folder / "a.jsonl", folder / "b.jsonl"]))[1] == texts


def test_seen_counts_as_a_dictionary_does() -> None:
    draw = np.random.default_rng(0)
    seen, known = SeenHashes(), dict[int, int]()
    for size in (0, 1, 5, 300, 7, 300, 64, 1000):
        hashes = draw.integers(0, 400, size).astype(np.uint64) * np.uint64(2**55)
        expected = []
        for key in hashes.tolist():
            expected.append(known.get(key, 0))
            known[key] = expected[-1] + 1
        assert seen.count_and_add(hashes).tolist() == expected
    assert sum(map(len, seen.runs)) == 1677
    assert all(len(a) >= 2 * len(b) for a, b in zip(seen.runs, seen.runs[1:], strict=False))


BROKEN = {
    "no json": (b'{"text": "a"}\n{"text": \n', "line 2: want a JSON object"),
    "two": (b'{"text": "a"} {"text": "b"}\n', "line 1: want a JSON object: Extra data"),
    "a list": (b'{"text": "a"}\n["text"]\n', "line 2: want a JSON object, got list"),
    "too deep": (b'{"text": "a"}\n' + b'{"a":' * 100_000 + b"\n", "line 2: want a JSON object"),
    "no text": (b'{"text": "a"}\n\n{"body": "b", "id": 2}\n', "line 3: want a field 'text', got body, id"),
    "null": (b'{"text": null}\n', "line 1: want a string in field 'text', got null"),
    "number": (b'{"text": "a"}\n{"text": 3}\n', "line 2: want a string in field 'text', got int"),
    "latin-1": (b'{"text": "a"}\n{"text": "caf\xe9"}\n', "line 2: want UTF-8, got byte 0xe9"),
    "surrogate": (b'{"text": "a\\ud800"}\n', "line 1: field 'text' has half a surrogate pair at character 1"),
    "empty": (b"", "want at least one row"),
    "blank": (b"\n \n", "want at least one row"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_refuses_broken_lines(tmp_path: Path, case: str) -> None:
    content, message = BROKEN[case]
    (tmp_path / "c.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        score(Source(tmp_path / "c.jsonl", chunk_rows=1), "length", tmp_path / "out")
    assert "c.jsonl" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl"]


def test_refuses_broken_parquet(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"text": ["a", None, "c"], "n": [1, 2, 3]}), path)
    for source, message in (
        (Source(path), "c.parquet, row 2: want a string in field 'text', got null"),
        (Source(path, text="n"), "c.parquet, row 1: want a string in field 'n', got int"),
        (Source(path, text="body"), "c.parquet: want a column 'body', got text, n"),
    ):
        with pytest.raises(ValueError, match=message):
            list(source.identified())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="c.parquet: want a Parquet file"):
        list(Source(path).identified())


def test_refuses_repeated_uids(tmp_path: Path) -> None:
    rows = [*make_rows(20), {"id": "doc-3", "text": "again"}]
    path = write_jsonl(tmp_path / "c.jsonl", rows)
    for chunk_rows in (2, 5, 100):
        with pytest.raises(ValueError, match="line 21: uid 'doc-3' was already used in .*line 4"):
            list(Source(path, uid="id", chunk_rows=chunk_rows).identified())


def test_equal_hashes_of_unequal_uids_are_no_error(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapruner.corpus.uids.hash64", lambda names: np.zeros(len(names), dtype=np.uint64))
    assert len(_identified(Source(corpus, uid="id", chunk_rows=40))[0]) == 103


def test_refuses_other_uids_and_groups(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": "a", "id": 7, "ok": True, "group": None}])
    assert _identified(Source(path, uid="id"))[0] == ["7"]
    with pytest.raises(ValueError, match="line 1: want a string or whole number in field 'ok', got bool"):
        list(Source(path, uid="ok").identified())
    with pytest.raises(ValueError, match="line 1: want a string or whole number in field 'group', got null"):
        list(Source(path, group="group").identified())


def test_refuses_missing_and_mixed_files(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", make_rows(2))
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "c.parquet")
    (tmp_path / "c.doc").write_text(json.dumps({"text": "a"}))
    (tmp_path / "empty").mkdir()
    for path, error, message in (
        (tmp_path / "missing.jsonl", FileNotFoundError, "no such file"),
        (tmp_path / "c.doc", ValueError, "ends in .arrow, .csv"),
        (tmp_path / "empty", ValueError, "want a folder with files"),
        ([corpus, tmp_path / "c.parquet"], ValueError, "files of one format"),
        ([], ValueError, "at least one file"),
    ):
        with pytest.raises(error, match=message):
            Source(path).files()
    with pytest.raises(ValueError, match="chunk_rows of at least 1"):
        Source(corpus, chunk_rows=0)
