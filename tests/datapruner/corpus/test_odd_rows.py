"""Rows that few people write and everybody must be able to read back: what is valid in is valid out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from datapruner import Source, score, select, write
from datapruner.corpus.format import Note, ReadOptions
from datapruner.corpus.formats import _packed, jsonl, parquet

BOM = b"\xef\xbb\xbf"
NOTE = Note(3, "u-1", 'low \u2028 "score"', {"a": 0.5})
LIMITS = ReadOptions(7, 1 << 20)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(["text", "prunekit", "prunekit_2", "", "a b", "\\u0070runekit"]) | st.text(max_size=6)
ROWS = st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=6)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \t\n", b"\n \n"])


def _line(row: dict[str, object], style: int) -> bytes:
    text = json.dumps(row, ensure_ascii=style % 2 == 0, separators=((",", ":"), (" , ", " : "))[style // 2 % 2])
    padded = text.replace("{}", "{ }") if style == 3 and row == {} else text
    return f"  {padded} ".encode() if style == 2 else padded.encode()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(st.tuples(ROWS, ENDS, st.booleans(), st.integers(0, 3), st.booleans()), min_size=1, max_size=3),
    suffix=st.sampled_from(["jsonl", "jsonl.gz"]),
)
def test_json_lines_come_back(tmp_path: Path, shards: list[tuple], suffix: str) -> None:
    rows, paths = [], []
    for number, (some, end, has_bom, style, ends) in enumerate(shards):
        data = (BOM if has_bom else b"") + end.join(_line(row, style) for row in some) + (end if ends else b"")
        paths.append(tmp_path / f"{number}.{suffix}")
        paths[-1].write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
        rows += some
    kept, dropped = jsonl.Writer(tmp_path / "kept.jsonl", None), jsonl.Writer(tmp_path / "dropped.jsonl", None, ["a"])
    for path in paths:
        for part in jsonl.read(path, LIMITS):
            kept.write(part, range(len(part)))
            dropped.write(part, range(len(part)), [NOTE] * len(part))
    kept.close()
    dropped.close()
    # exactly what any other reader makes of it
    assert [json.loads(line) for line in (tmp_path / "kept.jsonl").read_bytes().split(b"\n")[:-1]] == rows
    noted = [json.loads(line) for line in (tmp_path / "dropped.jsonl").read_bytes().split(b"\n")[:-1]]
    for row, found in zip(rows, noted, strict=True):
        (added,) = found.keys() - row.keys()
        assert found.pop(added) == {"row": 3, "uid": "u-1", "reason": NOTE.reason, "scores": {"a": 0.5}}
        assert found == row
    again = [part.parsed(i) for part in jsonl.read(tmp_path / "kept.jsonl", LIMITS) for i in range(len(part))]
    assert again == rows


def test_marks_of_several_shards_do_not_end_up_amid_the_output(tmp_path: Path) -> None:
    for name, mark in (("a", BOM), ("b", BOM), ("c", BOM + b"\n")):
        (tmp_path / f"{name}.jsonl").write_bytes(mark + b'{"text": "one"}\n{"text": "two"}\n')
    source = Source([tmp_path / f"{name}.jsonl" for name in "abc"], chunk_rows=1)
    chunks = list(source.raw_chunks())
    assert [line for chunk in chunks for line in chunk.rows.lines] == [b'{"text": "one"}', b'{"text": "two"}'] * 3
    # files that somebody joined: what is written is read again
    (tmp_path / "d.jsonl").write_bytes(b"".join((tmp_path / f"{name}.jsonl").read_bytes() for name in "abc"))
    joined = Source(tmp_path / "d.jsonl", chunk_rows=4)
    assert [text for chunk in joined.chunks() for text in chunk.texts] == ["one", "two"] * 3
    out = write(joined, select(score(joined, "length", tmp_path / "t"), "top", keep_ratio=1.0), tmp_path / "out")
    assert (out / "kept.jsonl").read_bytes() == b'{"text": "one"}\n{"text": "two"}\n' * 3
    # a mark amid a line is no JSON, and told with its place
    (tmp_path / "e.jsonl").write_bytes(b'{"text": "one"}\n ' + BOM + b'{"text": "two"}\n')
    with pytest.raises(ValueError, match="e.jsonl, line 2: want a JSON object"):
        list(Source(tmp_path / "e.jsonl").chunks())


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_is_not_read_further_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(_packed, "BLOCK", 1 << 12)
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 1 << 14)
    data = b'{"text": "short"}\n{"text": "' + b"a" * (1 << 16) + b'"}\n'
    path = tmp_path / ("c.jsonl.gz" if packed else "c.jsonl")
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ValueError, match=r"c.jsonl\S*, line 2: want at most 16,384 bytes, got more; a larger chunk_by"):
        list(Source(path, chunk_bytes=100).chunks())
    # who wants longer ones says so
    assert sum(len(chunk.texts) for chunk in Source(path, chunk_bytes=1 << 17).chunks()) == 2


@pytest.mark.parametrize("nested", [False, True])
def test_parquet_is_cut_by_its_decoded_size(tmp_path: Path, nested: bool) -> None:
    text = "a" * 20_000
    values = pa.array([[text, "b"] if nested else text] * 1000)
    pq.write_table(pa.table({"text": values, "id": range(1000)}), tmp_path / "c.parquet", compression="zstd")
    assert (tmp_path / "c.parquet").stat().st_size < 20_000
    source = Source(tmp_path / "c.parquet", chunk_bytes=1 << 20)
    chunks = list(source.raw_chunks())
    # without the look into the dictionary all rows would be one chunk of 20 MB
    assert max(chunk.rows.table.nbytes for chunk in chunks) <= 1 << 20
    assert sum(len(chunk.rows) for chunk in chunks) == 1000
    # the places of chunks hang on no column that is read
    few = [len(part) for part in parquet.read(tmp_path / "c.parquet", source.read_options(), ["id"])]
    assert few == [len(chunk.rows) for chunk in chunks]


def test_a_row_of_gigabytes_is_refused(tmp_path: Path) -> None:
    kept = pa.array([[0.0] * 1_000_000], pa.list_(pa.float64()))
    pq.write_table(pa.table({"x": pa.concat_arrays([kept] * 4)}), tmp_path / "c.parquet", row_group_size=1)
    assert parquet.LARGEST_ROW == 1 << 30
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "LARGEST_ROW", 1 << 20)
        with pytest.raises(ValueError, match="c.parquet: want rows of at most 1,048,576 bytes, got 8,000,000 decoded"):
            list(Source(tmp_path / "c.parquet", text=None).raw_chunks())
