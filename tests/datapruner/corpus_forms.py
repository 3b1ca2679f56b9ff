"""The same rows in every form that a source takes."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import datasets
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from datapruner import Source
from datapruner.corpus.formats.in_memory import HubDataset
from datapruner.corpus.fragments import CorpusLike
from tests.datapruner.conftest import make_rows, write_jsonl

N = 103
FORMS = (
    *("jsonl", "jsonl.gz", "jsonl.zst", "folder", "parquet", "memory", "memory folder", "memory parquet"),
    *("arrays", "data set", "shuffled data set", "stream", "generated stream", "loaded", "loaded stream"),
)


def rows_of(n: int = N) -> list[dict[str, object]]:
    """Rows with an id, a text, a source and a vector."""
    draw = np.random.default_rng(0)
    return [{**row, "vector": draw.standard_normal(3).astype(np.float32).tolist()} for row in make_rows(n)]


def given(form: str, folder: Path) -> CorpusLike:
    """The rows of `rows_of` as `form`, made in `folder`."""
    rows = rows_of()
    if form.startswith("jsonl"):
        path = folder / f"c.{form}"
        path.write_bytes(packed(write_jsonl(folder / "plain", rows).read_bytes(), path.suffix))
        return path
    if form == "folder":
        (folder / "parts").mkdir()
        for name, part in (("b.jsonl.gz", rows[40:]), ("a.jsonl.gz", rows[:40])):
            (folder / "parts" / name).write_bytes(packed(write_jsonl(folder / "plain", part).read_bytes(), ".gz"))
        return folder / "parts"
    if form.startswith("memory"):
        return _remote(form, folder, rows)
    if form == "arrays":
        columns = {name: [row[name] for row in rows] for name in ("id", "text", "source")}
        return {**columns, "vector": np.array([row["vector"] for row in rows], dtype=np.float32)}
    return _held(form, folder, rows)


def packed(data: bytes, suffix: str) -> bytes:
    """`data` compressed as `suffix` says, by other libraries than ours."""
    if suffix == ".gz":
        # two members, as `cat a.gz b.gz` makes them
        return gzip.compress(data[:100]) + gzip.compress(data[100:])
    if suffix in (".zst", ".zstd"):
        return zstandard.compress(data[:100]) + zstandard.ZstdCompressor(write_checksum=True).compress(data[100:])
    if suffix in (".bz2", ".xz"):
        compress = bz2.compress if suffix == ".bz2" else lzma.compress
        return compress(data[:100]) + compress(data[100:])
    return data


def _remote(form: str, folder: Path, rows: list[dict[str, object]]) -> CorpusLike:
    root = f"memory://{folder.name}"
    if form == "memory parquet":
        with fsspec.open(f"{root}/c.parquet", "wb") as file:
            pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=7)
        return f"{root}/c.parquet"
    names = {"memory": {"c.jsonl.gz": rows}, "memory folder": {"b.jsonl": rows[40:], "a.jsonl": rows[:40]}}[form]
    for name, part in names.items():
        with fsspec.open(f"{root}/{name}", "wb") as file:
            file.write(packed(write_jsonl(folder / "plain", part).read_bytes(), Path(name).suffix))
    return f"{root}/c.jsonl.gz" if form == "memory" else root


def _generated() -> Iterator[dict[str, object]]:
    yield from rows_of()


def _held(form: str, folder: Path, rows: list[dict[str, object]]) -> CorpusLike:
    if form == "generated stream":
        return datasets.IterableDataset.from_generator(_generated)
    made = datasets.Dataset.from_list(rows)
    if form == "shuffled data set":
        # rows through a table of indices, turned back into their order
        return made.select(range(N - 1, -1, -1)).select(range(N - 1, -1, -1))
    if form in ("data set", "stream"):
        return made if form == "data set" else made.to_iterable_dataset(num_shards=3)
    pq.write_table(pa.Table.from_pylist(rows), folder / "c.parquet", row_group_size=40)
    if form == "parquet":
        return folder / "c.parquet"
    return HubDataset("parquet", files=str(folder / "c.parquet"), streaming=form == "loaded stream")


def records(source: Source) -> list[tuple[str, str]]:
    """Uids and texts of all rows."""
    chunks = list(source.identified())
    return [pair for chunk in chunks for pair in zip(chunk.uids, chunk.texts, strict=True)]


def texts_of(lines: bytes) -> list[str]:
    return [json.loads(line)["text"] for line in lines.splitlines()]
