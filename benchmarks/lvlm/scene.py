"""What is in a picture, and where: drawn by a seed, before anything is painted.

A picture is a grid of 3 x 3 cells. Three kinds:

    main      4 to 8 objects, a sixth to a quarter of the picture's side long
    small     the same, a twelfth to an eighth
    reading   1 to 3 signs, each two cells wide and in a row of its own, with a number or a word, and some objects

An object is a drawing (emoji), a piece of clothing or a handwritten digit, the latter two in one of six colours.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from benchmarks.lvlm.vocabulary import COLOURS, DIGITS, EMOJI, FASHION, SIGN_WORDS

KINDS = ("main", "small", "reading")
PATCH = 14
# sides of objects, in parts of the picture's shorter side
SIDES = {"main": (0.16, 0.25), "small": (0.08, 0.115), "reading": (0.16, 0.25)}
# emoji, clothing, digit
SHARES = (0.52, 0.25, 0.23)
# one number of ten is kept for validation and one for test
NUMBER_SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Item:
    """An object or sign: `box` is left, top, width, height in pixels; `seed` draws what its painting leaves open."""

    name: str
    colour: str | None
    cell: tuple[int, int]
    box: tuple[float, float, float, float]
    seed: int
    text: str | None = None


@dataclass(frozen=True)
class Scene:
    """`size` is width, height in pixels; `seed` draws the background."""

    kind: str
    split: str
    size: tuple[int, int]
    items: tuple[Item, ...]
    seed: int

    @property
    def objects(self) -> tuple[Item, ...]:
        """All but the signs."""
        return tuple(item for item in self.items if item.text is None)

    @property
    def signs(self) -> tuple[Item, ...]:
        """The signs."""
        return tuple(item for item in self.items if item.text is not None)

    @property
    def covered(self) -> set[tuple[int, int]]:
        """The cells in which something is."""
        return {item.cell for item in self.items} | {(item.cell[0], item.cell[1] + 1) for item in self.signs}


def draw_scene(kind: str, split: str, number: int, grid: tuple[int, int] = (16, 16)) -> Scene:
    """Scene `number` of a split, `grid` patches high and wide; raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"want a kind of {', '.join(KINDS)}, got {kind!r}")
    draw = random.Random(f"{split}/{kind}/{number}")
    size = (grid[1] * PATCH, grid[0] * PATCH)
    items: list[Item] = []
    free = [(row, column) for row in range(3) for column in range(3)]
    if kind == "reading":
        items += _signs(draw, split, size)
        taken = Scene(kind, split, size, tuple(items), 0).covered
        free = [cell for cell in free if cell not in taken]
    n_objects = draw.randint(4, 8) if kind != "reading" else draw.randint(1, min(4, len(free)))
    cells = draw.sample(free, n_objects)
    for cell, name in zip(cells, _names(draw, n_objects), strict=True):
        colour = None if name in EMOJI else draw.choice([*COLOURS])
        items.append(Item(name, colour, cell, _box(draw, SIDES[kind], cell, size), draw.getrandbits(32)))
    return Scene(kind, split, size, tuple(items), draw.getrandbits(32))


def is_numbered(text: str, split: str) -> bool:
    """Whether a printed number belongs to a split: no number is in two."""
    part = blake2b(text.encode(), digest_size=2).digest()[0] % 10
    return (NUMBER_SPLITS[part] if part < len(NUMBER_SPLITS) else "train") == split


def _names(draw: random.Random, n: int) -> list[str]:
    """Classes of `n` objects, most of the time with one or two that stand there several times."""
    names: list[str] = []
    while len(names) < n:
        kind: Sequence[str] = draw.choices(([*EMOJI], [*FASHION], DIGITS), SHARES)[0]
        name = draw.choice(kind)
        several = draw.random() < 0.4 and name not in DIGITS
        names += [name] * (draw.randint(2, 4) if several else 1)
    return names[:n]


def _box(
    draw: random.Random, sides: tuple[float, float], cell: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A square at any place of its cell."""
    width, height = size[0] / 3, size[1] / 3
    side = min(draw.uniform(*sides) * min(size), min(width, height) - 2)
    left = cell[1] * width + draw.uniform(0, width - side)
    top = cell[0] * height + draw.uniform(0, height - side)
    return left, top, side, side


def _signs(draw: random.Random, split: str, size: tuple[int, int]) -> list[Item]:
    """Signs in other rows, of other colours."""
    count = draw.choices((1, 2, 3), (0.1, 0.35, 0.55))[0]
    rows, colours = draw.sample(range(3), count), draw.sample([*COLOURS], count)
    found = []
    for row, colour in zip(rows, colours, strict=True):
        text = draw.choice(SIGN_WORDS) if draw.random() < 0.4 else _number(draw, split)
        cell = (row, draw.randint(0, 1))
        width, height = size[0] * 2 / 3 - 6, min(size) / 3 * draw.uniform(0.72, 0.92)
        left = cell[1] * size[0] / 3 + draw.uniform(2, 4)
        top = (row + 0.5) * size[1] / 3 - height / 2 + draw.uniform(-2, 2)
        found.append(Item("sign", colour, cell, (left, top, width, height), draw.getrandbits(32), text))
    return found


def _number(draw: random.Random, split: str) -> str:
    """Two to four digits of this split."""
    while True:
        text = "".join(draw.choice("0123456789") for _ in range(draw.randint(2, 4)))
        if is_numbered(text, split):
            return text
