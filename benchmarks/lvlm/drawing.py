"""A scene as a picture, and what each patch of it shows."""

from __future__ import annotations

import functools
import importlib.util
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.lvlm.scene import PATCH, Item, Scene
from benchmarks.lvlm.sprites import Sprites
from benchmarks.lvlm.vocabulary import COLOURS, CONTENTS, EMOJI, TINTS

# the share of a patch that a thing covers at least, to be what the patch shows
COVERED = 0.25
# matplotlib ships them; those of the held-out splits are others
FONTS = {
    "train": (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
        *("DejaVuSerif", "DejaVuSerif-Italic", "STIXGeneralBol"),
    ),
    "validation": ("DejaVuSerif-Bold", "DejaVuSansMono"),
    "test": ("DejaVuSerif-Bold", "DejaVuSansMono", "DejaVuSans-Oblique"),
}
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Part:
    """A thing or a printed character: what it is, where, and its place among its like, from 1 on."""

    content: str
    colour: str | None
    box: Box
    ordinal: int


@dataclass(frozen=True)
class Drawn:
    """`picture` in colours; of each patch `labels` uint8 [rows * columns, 4]: content, tint, ordinal, cell."""

    picture: Image.Image
    labels: np.ndarray


def draw(scene: Scene, sprites: Sprites) -> Drawn:
    """Paint `scene` with the sprites of its split."""
    picture = _background(scene)
    parts: list[Part] = []
    seen: dict[str, int] = {}
    for item in sorted(scene.items, key=lambda item: item.cell):
        seen[item.name] = seen.get(item.name, 0) + 1
        if item.text is None:
            _paste(picture, item, sprites)
            parts.append(Part(item.name, item.colour, item.box, min(seen[item.name], 4)))
        else:
            parts += _print(picture, item, scene.split)
    return Drawn(picture, _labels(scene, parts))


def _background(scene: Scene) -> Image.Image:
    """A pale ground with a soft stain, lines and dots."""
    chance = random.Random(scene.seed)
    width, height = scene.size
    level = chance.uniform(205, 240)
    coarse = np.array([[[level + chance.uniform(-18, 18) for _ in range(3)] for _ in range(3)] for _ in range(3)])
    ground = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(ground)
    for _ in range(chance.randint(6, 16)):
        left, top, grey = chance.uniform(0, width), chance.uniform(0, height), chance.randint(120, 190)
        if chance.random() < 0.5:
            end = (left + chance.uniform(-40, 40), top + chance.uniform(-40, 40))
            pen.line((left, top, *end), fill=(grey,) * 3, width=chance.randint(1, 2))
        else:
            size = chance.uniform(1, 3)
            pen.ellipse((left - size, top - size, left + size, top + size), fill=(grey,) * 3)
    return ground


def _paste(picture: Image.Image, item: Item, sprites: Sprites) -> None:
    """An object, turned a little; drawings and clothes perhaps mirrored."""
    chance = random.Random(item.seed)
    left, top, width, height = (round(value) for value in item.box)
    is_emoji = item.name in EMOJI
    tile = chance.choice((sprites.emoji if is_emoji else sprites.grey)[item.name])
    if is_emoji:
        sprite = Image.fromarray(tile)
    else:
        light = tile.astype(np.float32) / 255
        strength = 0.45 + 0.55 * light if not item.name.isdigit() else np.ones_like(light)
        colour = np.array(COLOURS[str(item.colour)], np.float32) * strength[..., None]
        opacity = np.clip(light * (3 if not item.name.isdigit() else 1.3), 0, 1)
        sprite = Image.fromarray(np.dstack([colour, opacity * 255]).round().astype(np.uint8))
    if not item.name.isdigit() and chance.random() < 0.5:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    sprite = sprite.rotate(chance.uniform(-12, 12), Image.Resampling.BICUBIC)
    sprite = sprite.resize((max(width, 1), max(height, 1)), Image.Resampling.LANCZOS)
    picture.paste(sprite, (left, top), sprite)


def _print(picture: Image.Image, sign: Item, split: str) -> list[Part]:
    """A plate with its text, as large as fits."""
    chance, text = random.Random(sign.seed), str(sign.text)
    left, top, room, height = sign.box
    name = chance.choice(FONTS[split])
    size = height * chance.uniform(0.85, 0.98)
    shown = text.upper()
    while (font := _font(name, round(size))).getlength(shown) > room - 8:
        size -= 1
    width = min(room, font.getlength(shown) + chance.uniform(8, 16))
    left += chance.uniform(0, room - width)
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((left, top, left + width, top + height), 4, fill=COLOURS[str(sign.colour)])
    ink = (20, 20, 20) if sign.colour == "yellow" else (250, 250, 250)
    begin = left + (width - font.getlength(shown)) / 2
    pen.text((begin, top + height / 2), shown, fill=ink, font=font, anchor="lm")
    ends = [begin + font.getlength(shown[:n]) for n in range(len(shown) + 1)]
    glyphs = [
        Part(character, sign.colour, (ends[n], top + height * 0.1, ends[n + 1] - ends[n], height * 0.8), n + 1)
        for n, character in enumerate(text)
    ]
    return [Part("sign", sign.colour, (left, top, width, height), 0), *glyphs]


@functools.cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("matplotlib is missing: signs are printed in its fonts")
    return ImageFont.truetype(str(Path(spec.origin).parent / f"mpl-data/fonts/ttf/{name}.ttf"), size)


def _labels(scene: Scene, parts: list[Part]) -> np.ndarray:
    """A later part lies over an earlier one where it covers as much."""
    rows, columns = scene.size[1] // PATCH, scene.size[0] // PATCH
    labels = np.zeros((rows, columns, 4), np.uint8)
    best = np.full((rows, columns), COVERED)
    for part in parts:
        left, top, width, height = (value / PATCH for value in part.box)
        across = _overlap(left, left + width, columns)
        down = _overlap(top, top + height, rows)
        share = down[:, None] * across
        # of characters the one that covers most; a plate is what is left of it
        over = share >= (best if part.content != "sign" else COVERED)
        labels[over, :3] = CONTENTS.index(part.content), TINTS.index(part.colour or "none"), part.ordinal
        best[over] = share[over] if part.content != "sign" else COVERED
    row, column = np.mgrid[:rows, :columns]
    labels[..., 3] = (row * 2 + 1) * 3 // (2 * rows) * 3 + (column * 2 + 1) * 3 // (2 * columns)
    return labels.reshape(-1, 4)


def _overlap(begin: float, end: float, n: int) -> np.ndarray:
    """The share of each of `n` unit intervals that lies between."""
    edges = np.arange(n)
    return np.clip(np.minimum(edges + 1, end) - np.maximum(edges, begin), 0, 1)
