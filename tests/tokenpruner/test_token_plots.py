"""Drawings of kept patches, pixel by pixel where it counts."""

from __future__ import annotations

import pytest

Image = pytest.importorskip("PIL.Image")

from tokenpruner.plots import OUTLINE, PAPER, kept_patches, side_by_side  # noqa: E402
from tokenpruner.report import KeptImage  # noqa: E402


def picture(size=(80, 60)):
    return Image.new("RGB", size, (200, 30, 30))


def test_kept_patches_have_their_colour_and_the_others_not():
    drawn = kept_patches(picture(), (1, 7), (3, 4))
    assert drawn.size == (80, 60)
    # patches are 20 x 20: the second of the first line and the last of the second
    assert drawn.getpixel((30, 10)) == drawn.getpixel((70, 30)) == (200, 30, 30)
    for corner in ((20, 0), (39, 0), (20, 19), (39, 19), (60, 20), (79, 39)):
        assert drawn.getpixel(corner) == OUTLINE
    red, green, blue = drawn.getpixel((10, 10))
    assert red == green or abs(red - green) < 10
    assert min(red, green, blue) > 150


def test_grids_that_do_not_divide_the_picture():
    drawn = kept_patches(picture((50, 50)), range(9), (3, 3), size=(50, 50))
    assert drawn.size == (50, 50)
    assert kept_patches(picture((8, 8)), (0,), (4, 4)).size == (48, 48)


def test_the_picture_is_not_touched():
    own = picture()
    kept_patches(own, (0,), (3, 4))
    assert own.getcolors() == [(80 * 60, (200, 30, 30))]


def test_nothing_or_everything_kept():
    assert kept_patches(picture(), (), (3, 4)).getpixel((5, 5)) != (200, 30, 30)
    assert kept_patches(picture(), range(12), (3, 4)).getpixel((5, 5)) == (200, 30, 30)


def test_side_by_side(tmp_path):
    kept = {name: KeptImage(0, 0, 12, picks, (3, 4)) for name, picks in (("divprune", (0, 5)), ("stride", (1, 6)))}
    sheet = side_by_side(picture(), kept, "plain")
    assert sheet.size == (3 * 384 + 4 * 16, 288 + 32 + 52)
    assert sheet.getpixel((2, 2)) == PAPER
    # the same place of the first patch in the three tiles
    assert sheet.getpixel((16 + 48, 16 + 48)) == sheet.getpixel((416 + 48, 16 + 48)) == (200, 30, 30)
    assert sheet.getpixel((816 + 48, 16 + 48)) != (200, 30, 30)
    sheet.save(tmp_path / "kept.png")


def test_bad_input():
    with pytest.raises(ValueError, match="want patches below 12, got 12"):
        kept_patches(picture(), (3, 12), (3, 4))
    with pytest.raises(ValueError, match="want a grid of at least one row"):
        kept_patches(picture(), (), (0, 4))
    with pytest.raises(ValueError, match="divprune: want an image whose grid is known, got 12 tokens"):
        side_by_side(picture(), {"divprune": KeptImage(0, 0, 12, (1,))})
