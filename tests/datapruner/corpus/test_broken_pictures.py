"""Broken pictures are found in their bytes, whatever the decoder would make of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datapruner import Source, score
from datapruner.corpus.picture_check import problem_of

PIXELS = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8))


def _encoded(form: str, **options: object) -> bytes:
    target = io.BytesIO()
    PIXELS.save(target, form, **options)
    return target.getvalue()


WHOLE = {
    "png": _encoded("png"),
    "jpeg": _encoded("jpeg"),
    "progressive": _encoded("jpeg", progressive=True),
    "preview": _encoded("jpeg", comment=_encoded("jpeg")),
    "webp": _encoded("webp"),
    "gif": _encoded("gif"),
    "unknown": b"an encoding that is not looked into",
    "svg": b"<?xml version='1.0'?><svg></svg>",
}


@pytest.mark.parametrize("form", WHOLE)
def test_whole_pictures_are_left_alone(form: str) -> None:
    assert problem_of(WHOLE[form]) is None
    assert problem_of(WHOLE[form] + b"\0\0") is None


@pytest.mark.parametrize("form", ["png", "jpeg", "progressive", "preview", "webp"])
def test_every_cut_is_found(form: str) -> None:
    data = WHOLE[form]
    begin = data.index(_encoded("jpeg")) + len(_encoded("jpeg")) if form == "preview" else 12
    assert all(problem_of(data[:size]) for size in range(begin, len(data) - 1))


def test_a_gif_without_its_trailer() -> None:
    assert problem_of(WHOLE["gif"][:-1]) == "a GIF that breaks off"


def test_every_changed_byte_of_a_png_is_found() -> None:
    data = WHOLE["png"]
    for place in range(8, len(data)):
        assert problem_of(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]) is not None


def test_pages_that_were_saved_as_pictures() -> None:
    assert problem_of(b"\n<!DOCTYPE html><html><body>404</body></html>") == "a page of text"


def test_told_with_the_place_or_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, content in enumerate((WHOLE["png"], WHOLE["jpeg"][:-30], WHOLE["webp"])):
        (folder / f"{number}.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"1.jpg: want a whole image in field 'image', got a JPEG that breaks off"):
        score(folder, "random", tmp_path / "t")
    with pytest.warns(UserWarning, match="1 rows were skipped"):
        table = score(Source(folder, uid="file", on_error="skip"), "random", tmp_path / "t")
    assert table.read("rows", "uid").to_pylist() == ["0.jpg", "2.jpg"]
