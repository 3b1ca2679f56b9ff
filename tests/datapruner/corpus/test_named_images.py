"""Images that rows name: the corpus's own regular files of a bounded size, and part of what the input is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import Source, score, select, write
from datapruner.corpus import field_values
from datapruner.corpus.fingerprint import fingerprint
from tests.datapruner.conftest import write_jsonl


def _corpus(folder: Path, path: str, form: str) -> Source:
    folder.mkdir(exist_ok=True)
    rows = [{"image": {"path": path}, "text": "a"}]
    if form == "jsonl":
        return Source(write_jsonl(folder / "c.jsonl", rows), image="image")
    pq.write_table(pa.table({"image": [{"bytes": None, "path": path}], "text": ["a"]}), folder / "c.parquet")
    return Source(folder / "c.parquet", image="image")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_images_lie_beside_the_file_that_names_them(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "c" / "deep").mkdir(parents=True)
    (tmp_path / "c" / "deep" / "a.png").write_bytes(b"an image")
    for path in ("deep/a.png", str(tmp_path / "c" / "deep" / "a.png")):
        (chunk,) = _corpus(tmp_path / "c", path, form).identified()
        assert chunk.images == [b"an image"]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_other_files_are_never_read(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "c"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "secret.txt").write_bytes(b"secret")
    os.mkfifo(folder / "pipe.png")
    (folder / "b.png").symlink_to("../secret.txt")
    (folder / "out").symlink_to(tmp_path)
    for path, message in (
        ("/etc/passwd", "want a path inside"),
        ("/dev/zero", "want a path inside"),
        ("../secret.txt", "want a path inside"),
        ("b.png", "a link that leads out of it"),
        ("out/secret.txt", "a link that leads out of it"),
        ("pipe.png", "want a file, got a pipe"),
        ("deep", "want a file, got a folder"),
        ("no\0.png", "want a path inside"),
        ("nowhere.png", "cannot be read"),
    ):
        source = _corpus(folder, path, form)
        with pytest.raises(ValueError, match=rf"c\.{form}, (line|row) 1: field 'image': .*{message}"):
            list(source.identified())


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # holes: gigabytes that take no place
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(field_values.LARGEST_IMAGE + 1)
    (tmp_path / "a.png").write_bytes(b"0123456789")
    with pytest.raises(ValueError, match="c.jsonl, line 1: field 'image': want at most 268,435,456 bytes"):
        list(_corpus(tmp_path, "large.png", "jsonl").identified())
    monkeypatch.setattr(field_values, "MOST_BYTES", 25)
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"image": {"path": "a.png"}} for _ in range(3)])
    with pytest.raises(ValueError, match="line 3: .*want at most 25 bytes of images in a chunk.*smaller chunk_rows"):
        list(Source(corpus, text=None, image="image").identified())
    assert len([*Source(corpus, text=None, image="image", chunk_rows=2).identified()]) == 2


def test_named_images_are_part_of_the_input(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    rows = [{"id": name, "text": "t", "image": {"path": f"{name}.png"}} for name in "ab"]
    corpus = write_jsonl(tmp_path / "c.jsonl", rows)
    source = Source(corpus, uid="id", image="image")
    table = score(source, "length", tmp_path / "t")
    selection = select(table, "top", "length", 0.5)
    write(source, selection, tmp_path / "out")
    # who writes need not name the field again
    write(corpus, selection, tmp_path / "again")
    before = fingerprint(source)
    (tmp_path / "b.png").write_bytes(b"c")
    assert fingerprint(source) != before
    for call in (
        lambda: score(source, "length", tmp_path / "t"),
        lambda: write(source, selection, tmp_path / "late"),
        lambda: write(corpus, selection, tmp_path / "late"),
    ):
        with pytest.raises(ValueError, match="the images that c.jsonl names are not those which were recorded"):
            call()
    assert json.loads(corpus.read_text().splitlines()[0]) == rows[0]


def test_links_of_an_image_folder_are_not_followed_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    photos = tmp_path / "photos"
    (photos / "cat").mkdir(parents=True)
    (photos / "cat" / "a.png").write_bytes(b"a")
    # links inside are the folder's own
    (photos / "b.png").symlink_to("cat/a.png")
    assert [image for chunk in Source(photos).identified() for image in chunk.images or ()] == [b"a", b"a"]
    for name, target in (("c.png", tmp_path / "secret.txt"), ("dogs", tmp_path)):
        (tmp_path / "d.png").write_bytes(b"d")
        (photos / name).symlink_to(target)
        with pytest.raises(ValueError, match="photos: want a path inside .* a link that leads out of it"):
            list(Source(photos).identified())
        (photos / name).unlink()
