"""Forms as they come: JSON, CSV, text, Arrow, every compression, globs, nested folders, rows in memory."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from datapruner import Source, prune, score, select
from datapruner.corpus.chunk_reader import ChunkReader
from datapruner.corpus.chunks import load_chunk_offsets
from datapruner.recipe.recipe import Output
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.corpus_forms import packed

ROWS: list[dict[str, object]] = [
    {"text": f'line {i},\n"quoted" {{[}} \\ é 猫', "n": i, "meta": {"a": [{"b": "]"}]}} for i in range(23)
]
TEXTS = [row["text"] for row in ROWS]


def texts(source: Source) -> list[str]:
    return [text for chunk in source.chunks() for text in chunk.texts]


def _json(form: str) -> bytes:
    if form == "array":
        return json.dumps(ROWS).encode()
    if form == "indented":
        return b"\xef\xbb\xbf" + json.dumps(ROWS, indent=2, ensure_ascii=False).encode()
    if form == "objects":
        return "\r\n".join(json.dumps(row, indent=1) for row in ROWS).encode()
    return "\n".join(json.dumps(row) for row in ROWS).encode()


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("block", [3, 1 << 20])
@pytest.mark.parametrize("form", ["array", "indented", "objects", "lines"])
def test_json_files(form: str, block: int, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"c.json{suffix}"
    path.write_bytes(packed(_json(form), suffix))
    source = Source(path, chunk_rows=5)
    if form != "lines":
        # the kind of file is told by its first block, which holds its first line
        monkeypatch.setattr("datapruner.corpus.formats._packed.BLOCK", block)
    assert texts(source) == TEXTS
    offsets = tuple(chunk.offset for chunk in source.raw_chunks())
    read = ChunkReader(source, offsets)
    assert [source.parsed(read(index)).texts for index in (3, 1, 4)] == [TEXTS[15:20], TEXTS[5:10], TEXTS[20:]]
    out = tmp_path / "out"
    prune(source, "field:name=n", "top", 0.5, Output(out, report=False))
    kept = out / f"kept.jsonl{suffix}"
    assert (
        [row for chunk in Source(kept).raw_chunks() for row in map(chunk.rows.parsed, range(len(chunk.rows)))]
        == (  # type: ignore[attr-defined]
            ROWS[11:]
        )
    )


BROKEN_JSON = {
    '[{"text": "a"}, {"text": "b"': "c.json, object 2: want a JSON object: the file breaks off",
    '[{"text": "a"},\n{"text": "b"}': "c.json, object 3: want a JSON object: the file breaks off",
    '[{"text": "a"}, 3, {"text": "b"}]': "c.json, object 2: want a JSON object, got '3'",
    '["a", "b"]': "c.json, object 1: want a JSON object",
    '[{"text": "a"}, {"text": b}]': "c.json, object 2: want a JSON object",
}


@pytest.mark.parametrize("content", BROKEN_JSON)
def test_broken_json_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ValueError, match=BROKEN_JSON[content]):
        texts(Source(tmp_path / "c.json"))


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz"])
def test_tables_of_text(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapruner.corpus.formats._packed.BLOCK", 17)
    folder = tmp_path / "c"
    folder.mkdir()
    delimiter = "\t" if "tsv" in suffix else ","
    # the second file has its columns in another order
    for name, part, names in (("a", ROWS[:9], ["id", "text", "n"]), ("b", ROWS[9:], ["n", "text", "id"])):
        with open(folder / "plain", "w", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(names)
            for row in part:
                values = {"id": f"00{row['n']}", "text": row["text"], "n": f"{row['n']}.5"}
                writer.writerow([values[name] for name in names])
        (folder / f"{name}{suffix}").write_bytes(packed((folder / "plain").read_bytes(), Path(suffix).suffix))
        (folder / "plain").unlink()
    source = Source(folder, uid="id", chunk_rows=4)
    assert texts(source) == TEXTS
    table = score(source, "field:name=n", tmp_path / "t")
    assert table.scores("field").tolist() == [i + 0.5 for i in range(23)]
    assert table.read("rows", "uid").to_pylist() == [f"00{i}" for i in range(23)]
    read = ChunkReader(source, tuple(load_chunk_offsets(table.path)))
    assert source.parsed(read(4)).texts == TEXTS[13:17]
    prune(source, "field:name=n", "bottom", 0.5, Output(tmp_path / "out"))
    assert texts(Source(tmp_path / "out" / f"kept{suffix}")) == TEXTS[:12]
    (chunk,) = Source(tmp_path / "out" / f"dropped{suffix}").raw_chunks()
    first = chunk.rows.parsed(0)  # type: ignore[attr-defined]
    assert (first["id"], first["n"]) == ("0012", "12.5")
    assert json.loads(first["prunekit"])["row"] == 12


BAD_CSV = {
    "text,n\na,1\nb\n": "line 3: want 2 values, got 1",
    'text,n\na,1\n"b,2\n': "line 3: want separated values: unexpected end of data",
    "text,text\na,1\n": "want columns of unlike names, got 'text' 2 times",
    "body,n\na,1\n": "want a column 'text', got body, n",
    "": "want names of fields in the first line, got an empty file",
}


@pytest.mark.parametrize("content", BAD_CSV)
def test_bad_tables_are_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(ValueError, match=f"c.csv.*{BAD_CSV[content]}"):
        texts(Source(tmp_path / "c.csv"))


def test_text_files_by_line_and_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "b.txt").write_text("\ufeffone\r\n\r\n  two \n", encoding="utf-8", newline="")
    (folder / "a.txt.gz").write_bytes(packed(b"drei\nvier", ".gz"))
    assert texts(Source(folder)) == ["drei", "vier", "one", "  two "]
    assert texts(Source(folder, text_rows="file")) == ["drei\nvier", "one\r\n\r\n  two \n"]
    source = Source(folder, text_rows="file", group="@file")
    prune(source, "length", "top", 0.5, Output(tmp_path / "out", report=False))
    (kept,) = Source([*(tmp_path / "out").glob("kept*")]).raw_chunks()
    assert kept.rows.parsed(0) == {"text": "one\r\n\r\n  two \n", "file": "b.txt"}  # type: ignore[attr-defined]
    (folder / "c.txt").write_bytes(b"fine\n\xff\n")
    with pytest.raises(ValueError, match="c.txt, line 2: want UTF-8, got byte 0xff"):
        texts(Source(folder))


def test_arrow_files_and_saved_folders(tmp_path: Path) -> None:
    made = datasets.Dataset.from_list(ROWS)
    made.save_to_disk(tmp_path / "saved", num_shards=2)
    pa.feather.write_feather(pa.Table.from_pylist(ROWS), tmp_path / "c.feather", chunksize=4)
    for path in (tmp_path / "saved", tmp_path / "c.feather"):
        source = Source(path, chunk_rows=5)
        assert texts(source) == TEXTS
        offsets = tuple(chunk.offset for chunk in source.raw_chunks())
        index = len(offsets) - 2
        start = offsets[index].start
        found = source.parsed(ChunkReader(source, offsets)(index)).texts
        assert found == TEXTS[start : start + offsets[index].rows]
        prune(source, "field:name=n", "top", 0.5, Output(tmp_path / f"{path.name}.out"))
        assert pq.read_table(tmp_path / f"{path.name}.out" / "kept.parquet").to_pylist() == ROWS[11:]
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "splits")
    with pytest.raises(ValueError, match=r"folders inside are not entered: name .*te?s?t?r?a?i?n? itself"):
        texts(Source(tmp_path / "splits"))
    whole = (tmp_path / "c.feather").read_bytes()
    (tmp_path / "cut.feather").write_bytes(whole[:-40])
    with pytest.raises(ValueError, match="cut.feather: want an Arrow file"):
        texts(Source(tmp_path / "cut.feather"))


IN_MEMORY = {
    "rows": [{"text": "hello world", "n": 1}, {"text": "b", "more": 2.5}],
    "one row": {"text": "hello world", "vector": [1.0, 2.0]},
    "a list of one row": [{"text": "hello world"}],
    "table": pa.table({"text": ["hello world", "b"]}),
    "frame": pd.DataFrame({"text": ["hello world", "b"]}, index=[7, 3]),
    "arrays": {"text": ["hello world", "b"], "vector": np.zeros((2, 3))},
}


@pytest.mark.parametrize("form", IN_MEMORY)
def test_rows_in_memory(form: str, tmp_path: Path) -> None:
    found = texts(Source(IN_MEMORY[form]))  # type: ignore[arg-type]
    assert found == (["hello world"] if "row" in form and form != "rows" else ["hello world", "b"])
    assert score(IN_MEMORY[form], "length", tmp_path / "t").scores("length")[0] == 11  # type: ignore[arg-type]


def test_hidden_files_and_dangling_links(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    (folder / "deep" / "er").mkdir(parents=True)
    write_jsonl(folder / "a.jsonl", [{"text": "a"}])
    (folder / "._a.jsonl").write_bytes(b"\0\5\26\7")
    (folder / ".cache").mkdir()
    write_jsonl(folder / ".cache" / "b.jsonl", [{"text": "no"}])
    write_jsonl(folder / "deep" / "er" / "b.jsonl", [{"text": "b"}])
    assert texts(Source(folder)) == ["a"]
    assert texts(Source(folder, nested=True)) == ["a", "b"]
    assert texts(Source(folder / "*.jsonl")) == ["a"]
    assert texts(Source(f"{folder}/**/*.jsonl")) == ["a", "b"]
    (folder / "z.jsonl").symlink_to(tmp_path / "gone.jsonl")
    for path in (folder, f"{folder}/*.jsonl"):
        with pytest.raises(FileNotFoundError, match="z.jsonl: a link to .*gone.jsonl, which is not there"):
            texts(Source(path))
    os.remove(folder / "z.jsonl")
    (folder / "deep" / "link").symlink_to(folder)
    with pytest.raises(ValueError, match="link: want folders, got a link to one"):
        texts(Source(folder, nested=True))
    with pytest.raises(FileNotFoundError, match=r"\*.parquet: no such file, and no file that matches it"):
        texts(Source(folder / "*.parquet"))


def test_only_data_counts_in_a_folder_that_has_some(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    for name in ("LICENSE.txt", "about.json"):
        (tmp_path / name).write_text('{"text": "not a row"}')
    assert texts(Source(tmp_path)) == ["a"]


def test_selecting_by_vectors_of_the_source(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((23, 3)).astype(np.float32)
    rows = [{**row, "embedding": vector.tolist()} for row, vector in zip(ROWS, vectors, strict=True)]
    corpus = write_jsonl(tmp_path / "c.jsonl", rows)
    table = score(Source(corpus, chunk_rows=5), "length", tmp_path / "t")
    by_field = select(table, "farthest_point", keep_ratio=0.3)
    held = score({"text": TEXTS, "embedding": vectors}, "length", tmp_path / "held")
    assert by_field.kept.tolist() == select(held, "farthest_point", keep_ratio=0.3).kept.tolist()
    out = prune(Source(corpus, chunk_rows=5), "length", "farthest_point", 0.3, tmp_path / "out")
    assert out.kept.tolist() == by_field.kept.tolist()
    with pytest.raises(ValueError, match="no finished vector column 'embedding'.*a field of the source is read where"):
        select(tmp_path / "t", "farthest_point", keep_ratio=0.3)
