"""Drawings of kept patches, pixel by pixel where it counts."""

from __future__ import annotations

import pytest

Image = pytest.importorskip("PIL.Image")

from tokenpruner.report.plots import OUTLINE, PAPER, by_layer, kept_patches, side_by_side, strip  # noqa: E402
from tokenpruner.report.records import KeptImage, Prefill  # noqa: E402


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


def is_coloured(sheet, place):
    """The picture is red; what was dropped is nearly grey."""
    red, green, _ = sheet.getpixel(place)
    return red > green + 60


def test_a_cut_up_image_has_two_drawings():
    # 2 x 2 in overview, 2 x 4 in detail: token 3 is the overview's last, token 4 the detail's first
    kept = KeptImage(0, 0, 12, (3, 4), None, views=((2, 2), (2, 4)))
    sheet = side_by_side(picture((80, 40)), {"divprune": kept})
    assert sheet.size == (3 * 384 + 4 * 16, 192 + 32 + 52)
    overview, detail = 16 + 400, 16 + 800
    assert [is_coloured(sheet, (overview + x, 16 + y)) for x, y in ((90, 40), (290, 150))] == [False, True]
    assert [is_coloured(sheet, (detail + x, 16 + y)) for x, y in ((40, 40), (140, 40))] == [True, False]


def test_tall_images_stay_within_the_tile_and_fine_grids_grow():
    kept = KeptImage(0, 0, 400, (0,), (40, 10))
    assert side_by_side(picture((100, 400)), {"one": kept}).size == (2 * 96 + 3 * 16, 384 + 32 + 52)
    fine = KeptImage(0, 0, 6400, (0,), (64, 100))
    # a hundred patches of 8 pixels each
    assert side_by_side(picture((100, 64)), {"one": fine}).size == (2 * 800 + 3 * 16, 512 + 32 + 52)


def test_many_drawings_wrap_and_long_names_are_cropped():
    kept = {f"{'a long name ' * 9}{number}": KeptImage(0, 0, 12, (number,), (3, 4)) for number in range(5)}
    sheet = side_by_side(picture(), kept)
    assert sheet.size == (3 * 384 + 4 * 16, 2 * (288 + 52 + 16) + 16)
    # the gap between two captions is empty
    assert {sheet.getpixel((x, y)) for x in range(401, 415) for y in range(306, 350)} == {PAPER}
    # the last two of the second row: patch 3 is the last of its line, patch 4 the first of the next one
    for left, seen in ((416, (True, False)), (816, (False, True))):
        assert tuple(is_coloured(sheet, (left + x, 372 + y)) for x, y in ((336, 48), (48, 144))) == seen


def test_layers_side_by_side():
    def cut(layer, kept):
        return tuple(KeptImage(row, 0, 12, kept, (3, 4), layer=layer) for row in (0, 1))

    first, second = cut(8, (0, 5)), cut(16, (5,))
    prefill = Prefill(second, (12,), (1,), 0.0, None, 0, 0, 0, 0, cuts=(first, second))
    assert by_layer(prefill, row=1) == {"from layer 8": first[1], "from layer 16": second[1]}
    assert by_layer(prefill, row=2) == {}
    before = Prefill(first, (12,), (1,), 0.0, None, 0, 0, 0, 0)
    assert by_layer(before) == {"from layer 8": first[0]}


def test_frames_of_a_video_in_a_strip():
    kept = [KeptImage(0, 0, 4, (frame,), (2, 2), frame) for frame in range(3)]
    pictures = [picture((40, 40)), Image.new("RGB", (40, 40))] * 3
    # the first of every two pictures: the red one
    sheet = strip(pictures, kept)
    assert sheet.size == (3 * 192 + 4 * 16, 192 + 32 + 52)
    for frame in range(3):
        own = [(16 + 208 * frame + 48 + 96 * (k % 2), 16 + 48 + 96 * (k // 2)) for k in range(4)]
        assert [is_coloured(sheet, place) for place in own] == [k == frame for k in range(4)]
    many = [KeptImage(0, 0, 4, (), (2, 2), frame) for frame in range(12)]
    assert strip([picture((40, 40))] * 12, many).size == (6 * 208 + 16, 2 * (192 + 52 + 16) + 16)
    for frames in ([], pictures[:4]):
        with pytest.raises(ValueError, match=f"or a multiple, got {len(frames)} for 3"):
            strip(frames, kept)
