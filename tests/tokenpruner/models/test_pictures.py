"""Pictures of strangers: files of a bounded size and format, decoded only where the pixels are few enough."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("PIL")

from PIL import Image  # noqa: E402

from tokenpruner.models import pictures  # noqa: E402
from tokenpruner.models.pictures import load_picture  # noqa: E402


def picture(path: Path, side: int = 20) -> Path:
    Image.new("RGB", (side, side), (200, 10, 30)).save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_what_people_have(tmp_path: Path, suffix: str) -> None:
    found = load_picture(picture(tmp_path / f"a.{suffix}"))
    assert (found.mode, found.size) == ("RGB", (20, 20))


@pytest.mark.timeout(20)
def test_pipes_devices_and_folders_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png: want a file, got a pipe"):
        load_picture(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match="/dev/zero: want a file, got a device"):
        load_picture(Path("/dev/zero"))
    with pytest.raises(ValueError, match="want a file, got a folder"):
        load_picture(tmp_path)


@pytest.mark.parametrize("bound", [300, 100])
def test_more_pixels_than_pillow_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    # of 400 pixels Pillow warns at a bound of 300, and raises an error of its own kind at 100
    path = picture(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)
    with pytest.raises(ValueError, match=r"bomb\.png: want a picture: Image size \(400 pixels\) exceeds limit"):
        load_picture(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    assert load_picture(path).size == (20, 20)


def test_a_file_of_more_bytes_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_FILE", 10)
    with pytest.raises(ValueError, match="want at most 10 bytes"):
        load_picture(picture(tmp_path / "a.png"))


def test_what_another_program_would_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(ValueError, match=r"a\.png: want a picture, got something else"):
        load_picture(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_what_is_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    picture(path, 60)
    whole = path.read_bytes()
    for length in (8, 30, len(whole) // 2, len(whole) - len(whole) // 4):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="want a picture") as caught:
            load_picture(path)
        assert str(path) in str(caught.value)
