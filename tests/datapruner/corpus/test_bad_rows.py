"""`on_error="skip"`: one bad row in a billion does not stop the run, and is not lost either."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from typer.testing import CliRunner

from datapruner import Output, Source, prune, score, select, write
from datapruner.cli.commands import app
from datapruner.corpus.chunk_reader import ChunkReader
from datapruner.corpus.chunks import load_chunk_offsets
from datapruner.corpus.fragments import CorpusLike
from datapruner.recipe import recipe_yaml

pytestmark = pytest.mark.filterwarnings("ignore:.* keeps:UserWarning", "ignore:.*rows were skipped:UserWarning")

GOOD = [{"id": f"d{i}", "text": f"text number {i}", "group": "g"} for i in range(20)]
BAD = {
    3: (b'{"id": "x", "text": null, "group": "g"}', "want a string in field 'text', got null"),
    4: (b'{"id": "x", "text": ', "want a JSON object: "),
    7: (b'{"id": "x", "group": "g"}', "want a field 'text', got id, group"),
    11: (b'["a"]', "want a JSON object, got list"),
    12: (b'{"id": "x", "text": "\xff", "group": "g"}', "want UTF-8, got byte 0xff"),
    13: (b'{"id": "x", "text": "a", "group": 1.5}', "want a string or whole number in field 'group', got float"),
    18: (b'{"id": "x", "text": "\\ud800", "group": "g"}', "field 'text' has half a surrogate pair"),
}


def _lines() -> list[bytes]:
    lines = [json.dumps(row).encode() for row in GOOD]
    for number in sorted(BAD):
        # the numbers of lines from 1, the bad ones included
        lines.insert(number - 1, BAD[number][0])
    return lines


def _source(path: CorpusLike, **options: object) -> Source:
    return Source(path, uid="id", group="group", on_error="skip", **options)  # type: ignore[arg-type]


def _skipped(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "skipped.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("chunk_rows", [4, 4096])
def test_bad_lines_are_counted_and_written_apart(chunk_rows: int, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\n".join(_lines()) + b"\n")
    with pytest.raises(ValueError, match="c.jsonl, line [34]: want a"):
        score(Source(path, uid="id", group="group"), "length", tmp_path / "refused")
    source = _source(path, chunk_rows=chunk_rows)
    with pytest.warns(UserWarning, match=r"7 rows were skipped, see .*the first is .*c.jsonl, line 3: want a string"):
        table = score(source, ["length", "near_duplicate"], tmp_path / "t")
    assert table.read("rows", "uid").to_pylist() == [row["id"] for row in GOOD]
    found = _skipped(table.path)
    assert [row["place"] for row in found] == [f"{path}, line {number}" for number in BAD]
    for row, (line, reason) in zip(found, BAD.values(), strict=True):
        assert row["reason"].startswith(reason)
        assert row["row"] == line.decode(errors="replace")
    offsets = tuple(load_chunk_offsets(table.path))
    assert sum(offset.rows for offset in offsets) == 20
    wanted = [chunk.uids for chunk in source.chunks()]
    for index in (len(offsets) - 1, 0, len(offsets) // 2):
        assert source.parsed(ChunkReader(source, offsets)(index)).uids == wanted[index]
    # who writes need not say again what is skipped
    out = write(path, select(table, "top", by="length", keep_ratio=0.5), Output(tmp_path / "out", scores=table.path))
    kept, dropped = ((out / f"{name}.jsonl").read_text().splitlines() for name in ("kept", "dropped"))
    assert (len(kept), len(dropped)) == (10, 10)
    assert _skipped(out) == found
    assert recipe_yaml.load(out / "recipe.yaml").source.on_error == "skip"


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz"])
def test_what_breaks_off_is_one_bad_row(suffix: str, tmp_path: Path) -> None:
    plain = b"\n".join(json.dumps({**row, "more": f"{hash(str(row))}" * 9}).encode() for row in GOOD) + b"\n"
    pack = {".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    # a second member, or what a download left of it
    data = plain[:-25] if not suffix else pack[suffix](plain) + pack[suffix](plain)[:-25]
    path = tmp_path / f"c.jsonl{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"c.jsonl\S*, (line 20|after line \d+): (want a JSON object|broken)"):
        list(Source(path).chunks())
    skipped: list[object] = []
    source = Source(path, on_error="skip")
    found = [text for chunk in source.chunks(on_skip=skipped.append) for text in chunk.texts]
    texts = [row["text"] for row in GOOD]
    assert found[: 20 if suffix else 19] == texts[: 20 if suffix else 19]
    assert found[20:] == texts[: max(0, len(found) - 20)]
    assert len(skipped) == 1
    table = score(source, "length", tmp_path / "t")
    assert (table.n_rows, len(_skipped(table.path))) == (len(found), 1)


@pytest.mark.parametrize("form", ["parquet", "csv", "json", "txt", "rows"])
def test_other_forms(form: str, tmp_path: Path) -> None:
    path, rows = tmp_path / f"c.{form}", [*GOOD[:5], {**GOOD[5], "text": None}, *GOOD[6:]]
    given: CorpusLike = path
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
    elif form == "csv":
        path.write_text("id,text,group\n" + "".join(f"{row['id']},{row['text'] or 'a,b'},g\n" for row in rows))
    elif form == "json":
        path.write_text(json.dumps(rows)[:-1])
    elif form == "txt":
        path.write_bytes(b"\n".join(str(row["text"]).encode() if row["text"] else b"\xff" for row in rows))
    else:
        given = rows
    source = Source(path, on_error="skip") if form == "txt" else _source(given, chunk_rows=4)
    skipped: list[object] = []
    chunks = [*source.chunks(on_skip=skipped.append)]
    assert [text for chunk in chunks for text in chunk.texts] == [row["text"] for row in rows if row["text"]]
    places = [row.place.rpartition(", ")[2] for row in skipped]  # type: ignore[attr-defined]
    assert places[0] in ("row 6", "line 7", "object 6", "line 6")
    # the array has no end
    assert places[1:] == (["object 21"] if form == "json" else [])
    selection = prune(source, "length", "top", 1.0, tmp_path / "out")
    assert (selection.n_kept, len(_skipped(tmp_path / "out"))) == (19, len(skipped))


def test_nothing_but_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"body": "a"}\n' * 3)
    with pytest.raises(ValueError, match="all 3 were skipped, the first is .*line 1: want a field 'text', got bo"):
        score(Source(tmp_path / "c.jsonl", on_error="skip"), "length", tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_chunk_of_bad_rows_alone_is_none(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "a"}\n' + '{"text": 1}\n' * 4 + '{"text": "b"}\n' + "{}\n")
    source = Source(path, chunk_rows=2, on_error="skip")
    table = score(source, "length", tmp_path / "t")
    offsets = load_chunk_offsets(table.path)
    assert [(offset.number, offset.rows) for offset in offsets] == [(1, 1), (5, 1)]
    assert source.parsed(ChunkReader(source, tuple(offsets))(1)).texts == ["b"]
    assert len(_skipped(table.path)) == 5


def test_another_way_to_read_is_another_table(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "a"}\n')
    score(path, "length", tmp_path / "t")
    with pytest.raises(ValueError, match="was made with on_error=None, wanted is on_error='skip'"):
        score(Source(path, on_error="skip"), "length", tmp_path / "t")
    with pytest.raises(ValueError, match="want on_error of refuse or skip, got 'ignore'"):
        Source(path, on_error="ignore")  # type: ignore[arg-type]


def test_on_the_command_line(tmp_path: Path) -> None:
    path, out = tmp_path / "c.jsonl", tmp_path / "out"
    path.write_bytes(b"\n".join(_lines()))
    options = ["--scorer", "length", "--selector", "top", "--keep-ratio", "0.5", "--out", str(out)]
    done = CliRunner().invoke(app, ["prune", str(path), *options, "--group", "group", "--on-error", "skip"])
    assert done.exit_code == 0, done.output
    assert "skipped: 7 rows that could not be used" in " ".join(done.stdout.split())
    again = CliRunner().invoke(app, ["run", str(out / "recipe.yaml"), "--out", str(tmp_path / "again")])
    assert again.exit_code == 0, again.output
    # the same rows, by another way to the file
    both = [[(row["reason"], row["row"]) for row in _skipped(folder)] for folder in (out, tmp_path / "again")]
    assert both[0] == both[1]
    assert len(both[0]) == 7
