"""The image with its kept patches drawn: what was dropped is dimmed, what was kept has its colours and an outline.

Hand in the picture as the model saw it: patches are laid over it as an even grid. Sheets of several drawings wrap
into rows, so that none grows wider than a screen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from prunekernels.extras import require
from tokenpruner.models.image_layouts import Grid
from tokenpruner.report.records import KeptImage, Prefill

if TYPE_CHECKING:
    from PIL.Image import Image


TILE, FRAME = 384, 192
# a patch has at least so many pixels each way in a tile, and a sheet about so many in all
PATCH, SHEET = 8, 2100
MARGIN = 16
CAPTION = 52
OUTLINE = (255, 196, 0)
INK, PAPER, MUTED = (24, 24, 27), (250, 250, 249), (113, 113, 122)


class Tile(NamedTuple):
    """One drawing and its caption."""

    picture: Image
    name: str
    counts: str


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
    """`image` and, for each name in `kept`, its kept patches; a caption under each tells how many they are.

    An image that was cut up has a drawing for its overview and one for its detail.
    """
    grids = [grid for name, one in kept.items() for grid in _views(name, one)]
    size = _fit(image, TILE, grids)
    pillow, _ = _pillow()
    plain = image.convert("RGB").resize(size, pillow.Resampling.LANCZOS)
    tiles = [Tile(plain, title, f"{image.width} x {image.height}")]
    for name, one in kept.items():
        tiles += _drawn(image, name, one, size)
    return _sheet(tiles)


def by_layer(prefill: Prefill, row: int = 0, image: int = 0, frame: int = 0) -> dict[str, KeptImage]:
    """What is left of one image behind each cut, by the layer it is made at: what `side_by_side` draws."""
    place = (row, image, frame)
    cuts = prefill.cuts or (prefill.images,)
    return {f"from layer {one.layer}": one for cut in cuts for one in cut if (one.row, one.image, one.frame) == place}


def strip(frames: Sequence[Image], kept: Sequence[KeptImage]) -> Image:
    """A video: each frame of `kept` over its picture, in order.

    Where a model sees several pictures as one frame, `frames` are a multiple, and the first of each is drawn.
    """
    if not kept or not frames or len(frames) % len(kept):
        raise ValueError(f"want as many pictures as frames, or a multiple, got {len(frames)} for {len(kept)}")
    each = len(frames) // len(kept)
    tiles: list[Tile] = []
    for picture, one in zip(frames[::each], kept, strict=True):
        name = f"frame {one.frame}"
        tiles += _drawn(picture, name, one, _fit(picture, FRAME, _views(name, one)))
    return _sheet(tiles)


def _views(name: str, one: KeptImage) -> tuple[Grid, ...]:
    grids = one.views or (() if one.grid is None else (one.grid,))
    if not grids:
        raise ValueError(f"{name}: want an image whose grid is known, got {one.size} tokens without one")
    return grids


def _fit(image: Image, tile: int, grids: Sequence[Grid]) -> tuple[int, int]:
    """Width and height of a drawing: within a square of `tile` pixels, more where patches would be too small."""
    scale = tile / max(image.size)
    for n_rows, n_columns in grids:
        scale = max(scale, PATCH * n_columns / image.width, PATCH * n_rows / image.height)
    return max(round(scale * image.width), 1), max(round(scale * image.height), 1)


def _drawn(image: Image, name: str, one: KeptImage, size: tuple[int, int]) -> Iterator[Tile]:
    """One drawing for each grid of the image."""
    grids, first = _views(name, one), 0
    for number, grid in enumerate(grids):
        n_tokens = grid[0] * grid[1]
        own = [place - first for place in one.patches if first <= place < first + n_tokens]
        first += n_tokens
        view = "" if len(grids) == 1 else ", overview" if number == 0 else ", detail"
        yield Tile(kept_patches(image, own, grid, size), name + view, f"{len(own):,} of {n_tokens:,} tokens")


def _sheet(tiles: Sequence[Tile]) -> Image:
    """Tiles in rows of like length, their captions below them."""
    pillow, draw_on = _pillow()
    width = max(tile.picture.width for tile in tiles)
    height = max(tile.picture.height for tile in tiles)
    n_rows = -(-len(tiles) // max(SHEET // (width + MARGIN), 1))
    n_columns = -(-len(tiles) // n_rows)
    down = height + CAPTION + MARGIN
    sheet = pillow.new("RGB", (MARGIN + n_columns * (width + MARGIN), MARGIN + n_rows * down), PAPER)
    pen = draw_on.Draw(sheet)
    for number, (picture, name, counts) in enumerate(tiles):
        left, top = MARGIN + number % n_columns * (width + MARGIN), MARGIN + number // n_columns * down
        sheet.paste(picture, (left, top))
        bottom = top + picture.height
        for text, below, ink, points in ((name, 8, INK, 18), (counts, 33, MUTED, 14)):
            pen.text((left, bottom + below), _cropped(text, width, points), fill=ink, font=_font(points))
    return sheet


def _cropped(text: str, width: int, points: int) -> str:
    """As much of `text` as fits into `width` pixels."""
    font = _font(points)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _pillow():  # type: ignore[no-untyped-def]  # noqa: ANN202
    return require("PIL.Image", "tokens"), require("PIL.ImageDraw", "tokens")


def _font(size: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from PIL import ImageFont

    return ImageFont.load_default(size)
