"""What is written of every form of input, the lists of what was kept, and disks that are full."""

from __future__ import annotations

import errno
import gzip
import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from datapruner import Output, ScoreTable, Source, score, select, write
from datapruner.output.report import page
from datapruner.selection.selection import Selection
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.corpus_forms import given, rows_of
from tests.datapruner.folders import folder_bytes


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def _longest(source: Source, out: Path, ratio: float = 0.5) -> Selection:
    return select(score(source, "length", out), "top", "length", ratio)


def _unpacked(path: Path) -> bytes:
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
    return path.read_bytes()


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "folder", "memory"])
def test_lines_keep_their_compression(form: str, tmp_path: Path) -> None:
    source = Source(given(form, tmp_path), chunk_rows=20)
    lines = write_jsonl(tmp_path / "plain.jsonl", rows_of()).read_bytes().splitlines(keepends=True)
    selection = _longest(source, tmp_path / "scores")
    out = write(source, selection, tmp_path / "pruned")
    ending = {"folder": "jsonl.gz", "memory": "jsonl.gz"}.get(form, form)
    assert _unpacked(out / f"kept.{ending}") == b"".join(lines[row] for row in selection.kept)
    dropped = [json.loads(line) for line in _unpacked(out / f"dropped.{ending}").splitlines()]
    assert [row.pop("prunekit")["row"] for row in dropped] == selection.dropped.tolist()
    assert dropped == [rows_of()[row] for row in selection.dropped]
    again = write(source, selection, tmp_path / "again")
    assert (again / f"kept.{ending}").read_bytes() == (out / f"kept.{ending}").read_bytes()


def test_a_data_set_keeps_its_features(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "kind": datasets.ClassLabel(names=["a", "b"])})
    texts = ["x" * length for length in (5, 1, 4, 2, 3)]
    made = datasets.Dataset.from_dict({"text": texts, "kind": [0, 1, 1, 0, 0]}, features=features)
    for number, path in enumerate((made, made.to_iterable_dataset())):
        source = Source(path, chunk_rows=2)
        out = write(source, _longest(source, tmp_path / f"scores{number}"), tmp_path / str(number))
        kept = datasets.load_dataset(str(out), split="train")
        assert kept.features == features
        assert kept.to_dict() == {"text": ["xxxxx", "xxxx", "xxx"], "kind": [0, 1, 0]}
        dropped = datasets.load_dataset("parquet", data_files=str(out / "dropped.parquet"), split="train")
        assert dropped.column_names == ["text", "kind", "prunekit"]
        assert dropped.features["kind"] == features["kind"]
        notes = pq.read_table(out / "dropped.parquet").column("prunekit").to_pylist()
        assert [note["row"] for note in notes] == [1, 3]


def test_images_are_written_as_files(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "photos" / "cat").mkdir(parents=True)
    names = ["cat/a.png", "cat/b.png", "dog.png", "emu.png"]
    for number, name in enumerate(names):
        Image.new("RGB", (4, 4), (50 * number, 0, 0)).save(tmp_path / "photos" / name)
    source = Source(tmp_path / "photos", label="folder", chunk_rows=3)
    selection = select(score(source, "random", tmp_path / "scores"), "top", "random", 0.5)
    out = write(source, selection, Output(tmp_path / "pruned", index=True))
    for name, rows in (("kept", selection.kept), ("dropped", selection.dropped)):
        found = {str(p.relative_to(out / name)): p.read_bytes() for p in (out / name).rglob("*.png")}
        assert found == {names[row]: (tmp_path / "photos" / names[row]).read_bytes() for row in rows}
        listed = [json.loads(line) for line in (out / name / "metadata.jsonl").read_text().splitlines()]
        assert [item["file_name"] for item in listed] == [names[row] for row in rows]
        assert ["prunekit" in item for item in listed] == [name == "dropped"] * 2
    kept = datasets.load_dataset(str(out), split="train")
    assert sorted(image.getpixel((0, 0))[0] for image in kept["image"]) == [50 * row for row in selection.kept]
    # what was written is a source again
    assert [chunk.images for chunk in Source(out / "kept").identified()][0] == [
        (tmp_path / "photos" / names[row]).read_bytes() for row in selection.kept
    ]
    for inside in (tmp_path, tmp_path / "photos" / "pruned"):
        with pytest.raises(ValueError, match="the input"):
            write(source, selection, Output(inside, overwrite=True))


def test_lists_of_what_is_kept(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, uid="id", chunk_rows=20)
    selection = _longest(source, tmp_path / "scores")
    out = write(source, selection, Output(tmp_path / "pruned", index=True))
    rows = np.load(out / "kept_rows.npy")
    assert rows.dtype == np.int64
    assert rows.tolist() == selection.kept.tolist()
    assert (out / "kept_uids.txt").read_text().splitlines() == selection.kept_uids
    assert not (write(source, selection, tmp_path / "without") / "kept_rows.npy").exists()


@pytest.mark.parametrize("mark", ["\n", "\r", "\u2028", "\x85"])
def test_uids_with_line_breaks_are_no_list(mark: str, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"id": f"a{mark}b{i}" if i == 1 else "" if i == 2 else str(i), "text": "x" * i}
                                     for i in range(4)]  # fmt: skip
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), uid="id")
    selection = _longest(source, tmp_path / "scores", 0.75)
    before = folder_bytes(tmp_path)
    with pytest.raises(ValueError, match="want uids without line breaks .*in row 1: write without an index"):
        write(source, selection, Output(tmp_path / "pruned", index=True))
    assert folder_bytes(tmp_path) == before
    # one that is dropped is in no list, and one without letters is a line as well
    selection = _longest(source, tmp_path / "scores", 0.5)
    out = write(source, selection, Output(tmp_path / "pruned", index=True))
    assert (out / "kept_uids.txt").read_text() == "\n3\n"


def test_files_of_other_columns_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["a"] * 3, "n": [1, 2, 3]}), folder / "a.parquet")
    pq.write_table(pa.table({"text": ["a"] * 3, "n": ["x", "y", "z"]}), folder / "b.parquet")
    with pytest.raises(ValueError, match="b.parquet: want the columns of .*a.parquet.* n has incompatible types"):
        _longest(Source(folder), tmp_path / "scores", 1.0)
    assert not (tmp_path / "scores").exists()


CHILD = """
    import resource, signal, sys
    from pathlib import Path
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    from datapruner import Output, Selection, Source, score, select, write
    from datapruner.output.report import page
    kind, path, selection, out, limit = sys.argv[1:]
    source = Source(path, chunk_rows=50, label=None)
    if kind == "write":
        selection = Selection.load(selection)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        if kind == "score":
            score(source, "length", out)
        elif kind == "select":
            select(selection, "top", "length", 0.4).save(out)
        elif kind == "report":
            page.save(page.render(Selection.load(selection), source), Path(out), [path])
        else:
            write(source, selection, Output(out, overwrite=True, report=False, index=True))
    except OSError as error:
        print(error)
        sys.exit(28)
"""


def _run(kind: str, path: Path, selection: Path, out: Path, limit: int) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[3]
    # -B: Python would leave cut files in its cache, and import them later
    command = [
        sys.executable,
        "-B",
        "-c",
        textwrap.dedent(CHILD),
        kind,
        str(path),
        str(selection),
        str(out),
        str(limit),
    ]
    env = {"PYTHONPATH": f"{root}:{root / 'kernels'}"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_no_more_room_in_the_middle_of_a_file(form: str, tmp_path: Path) -> None:
    # the machine itself refuses to let a file grow: the way of the real error through every library
    rows: list[dict[str, object]] = [{**row, "noise": str(np.random.default_rng(i).integers(0, 1 << 62, 60).tolist())}
                                     for i, row in enumerate(make_rows(400))]  # fmt: skip
    path = write_jsonl(tmp_path / "c.jsonl", rows)
    if form == "parquet":
        path = tmp_path / "c.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif form != "jsonl":
        packed = gzip.compress(path.read_bytes()) if form.endswith("gz") else zstandard.compress(path.read_bytes())
        path = tmp_path / f"c.{form}"
        path.write_bytes(packed)
    source = Source(path, chunk_rows=50)
    selection = _longest(source, tmp_path / "scores")
    selection.save(tmp_path / "selection.parquet")
    out = write(source, selection, tmp_path / "pruned")
    before = folder_bytes(tmp_path)
    for target in (out, tmp_path / "new"):
        done = _run("write", path, tmp_path / "selection.parquet", target, 30_000)
        assert done.returncode == 28, done.stderr
        assert f"{target} could not be written" in done.stdout
    assert folder_bytes(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


def test_no_more_room_for_scores(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", make_rows(400))
    wanted = folder_bytes(score(Source(path, chunk_rows=50), "length", tmp_path / "whole").path)
    out = tmp_path / "scores"
    done = _run("score", path, path, out, 1500)
    assert done.returncode == 28, done.stderr
    assert str(out) in done.stdout
    assert "could not be written" in done.stdout
    assert not list(tmp_path.rglob("*.partial-*"))
    # with room again the same call ends as if nothing had been
    score(Source(path, chunk_rows=50), "length", out)
    assert folder_bytes(out) == wanted


def test_no_more_room_for_an_image(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "photos" / "cat").mkdir(parents=True)
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (120, 120, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / "cat" / f"{number}.png")
    selection = select(score(tmp_path / "photos", "random", tmp_path / "scores"), "top", "random", 0.5)
    selection.save(tmp_path / "selection.parquet")
    out = write(tmp_path / "photos", selection, tmp_path / "pruned")
    before = folder_bytes(tmp_path)
    for target in (out, tmp_path / "new"):
        done = _run("write", tmp_path / "photos", tmp_path / "selection.parquet", target, 30_000)
        assert done.returncode == 28, done.stderr
        assert "could not be written" in done.stdout
    assert folder_bytes(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("kind", "name", "limit"), [("select", "selection.parquet", 3000), ("report", "p.html", 5000)])
def test_no_more_room_for_a_selection_or_a_report(kind: str, name: str, limit: int, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", make_rows(400))
    table = score(Source(path, chunk_rows=50), "length", tmp_path / "scores")
    selection = select(table, "top", "length", 0.5)
    selection.save(tmp_path / "selection.parquet")
    page.save(page.render(selection), tmp_path / "p.html")
    before = folder_bytes(tmp_path)
    given = table.path if kind == "select" else tmp_path / "selection.parquet"
    for target in (tmp_path / name, tmp_path / f"new-{name}"):
        done = _run(kind, path, given, target, limit)
        assert done.returncode == 28, done.stderr
        assert f"{target} could not be written" in done.stdout
    assert folder_bytes(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("file", ["kept_rows.npy", "selection.parquet", "README.md"])
def test_no_more_room_at_the_end(file: str, corpus: Path, table: ScoreTable, tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    selection = select(table, "top", "length", 0.5)
    out = write(corpus, selection, tmp_path / "pruned")
    before = folder_bytes(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    name = {"kept_rows.npy": "numpy.save", "selection.parquet": "datapruner.selection.selection.Selection.save"}
    monkeypatch.setattr(name.get(file, "datapruner.output.write.dataset_card"), full)
    with pytest.raises(OSError, match=r"pruned could not be written.*No space left on device") as error:
        write(corpus, selection, Output(out, overwrite=True, index=True))
    assert error.value.errno == errno.ENOSPC
    assert folder_bytes(tmp_path) == before
