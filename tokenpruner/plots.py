"""The image with its kept patches drawn: what was dropped is dimmed, what was kept has its colours and an outline.

Hand in the picture as the model saw it, cropped to the square: patches are laid over it as an even grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tokenpruner.report import KeptImage

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = 384
MARGIN = 16
CAPTION = 52
OUTLINE = (255, 196, 0)
INK, PAPER, MUTED = (24, 24, 27), (250, 250, 249), (113, 113, 122)


def kept_patches(
    image: Image, kept: Sequence[int], grid: tuple[int, int], size: tuple[int, int] | None = None
) -> Image:
    """Draw the patches `kept` (row by row, from 0) of a `grid` of rows and columns over `image`.

    The drawing is `size` pixels wide and high (by default as the image, scaled so that a patch has 12 pixels or more).
    """
    pillow, draw_on = _pillow()
    n_rows, n_columns = grid
    if n_rows < 1 or n_columns < 1:
        raise ValueError(f"want a grid of at least one row and one column, got {grid}")
    wrong = [index for index in kept if not 0 <= index < n_rows * n_columns]
    if wrong:
        raise ValueError(f"want patches below {n_rows * n_columns}, got {wrong[0]}")
    scale = max(1, -(-12 * n_columns // image.width), -(-12 * n_rows // image.height))
    width, height = size or (image.width * scale, image.height * scale)
    whole = image.convert("RGB").resize((width, height), pillow.Resampling.LANCZOS)
    grey = whole.convert("L").convert("RGB")
    shown = pillow.blend(grey, pillow.new("RGB", whole.size, PAPER), 0.72)
    pen = draw_on.Draw(shown)
    xs = [round(column * width / n_columns) for column in range(n_columns + 1)]
    ys = [round(row * height / n_rows) for row in range(n_rows + 1)]
    boxes = [(xs[k % n_columns], ys[k // n_columns], xs[k % n_columns + 1], ys[k // n_columns + 1]) for k in kept]
    for box in boxes:
        shown.paste(whole.crop(box), box[:2])
    for left, top, right, bottom in boxes:
        pen.rectangle((left, top, right - 1, bottom - 1), outline=OUTLINE)
    return shown


def side_by_side(image: Image, kept: Mapping[str, KeptImage], title: str = "image") -> Image:
    """`image` and, for each name in `kept`, its kept patches; a caption under each tells how many they are."""
    pillow, draw_on = _pillow()
    size = (TILE, round(TILE * image.height / image.width))
    tiles = [(image.convert("RGB").resize(size, pillow.Resampling.LANCZOS), title, f"{image.width} x {image.height}")]
    for name, one in kept.items():
        if one.grid is None:
            raise ValueError(f"{name}: want an image whose grid is known, got {one.size} tokens without one")
        counts = f"{len(one.kept)} of {one.size} tokens"
        tiles.append((kept_patches(image, one.kept, one.grid, size), name, counts))
    width = MARGIN + len(tiles) * (size[0] + MARGIN)
    sheet = pillow.new("RGB", (width, size[1] + 2 * MARGIN + CAPTION), PAPER)
    pen = draw_on.Draw(sheet)
    for number, (tile, name, counts) in enumerate(tiles):
        left, bottom = MARGIN + number * (size[0] + MARGIN), MARGIN + size[1]
        sheet.paste(tile, (left, MARGIN))
        pen.text((left, bottom + 8), name, fill=INK, font=_font(18))
        pen.text((left, bottom + 33), counts, fill=MUTED, font=_font(14))
    return sheet


def _pillow():  # type: ignore[no-untyped-def]  # noqa: ANN202
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise ImportError('drawing needs Pillow: pip install "prunekit[tokens]"') from error
    return Image, ImageDraw


def _font(size: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from PIL import ImageFont

    return ImageFont.load_default(size)
