"""The pictures that scenes are put together from, as sheets of tiles that are read without any package's code.

folder/emoji.png      colours with transparency, tiles of 64 px
folder/grey.png       Fashion-MNIST and MNIST, tiles of 28 px, strokes white on black
folder/sprites.json   the class of each tile, row by row
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.lvlm.vocabulary import DIGITS, EMOJI, FASHION
from prunekernels.io.json_files import read_object
from prunekernels.io.outputs import atomic_folder

KIND, SPLITS, COLUMNS = "lvlm sprites", ("train", "validation", "test"), 50
Tiles = dict[str, list[np.ndarray]]


@dataclass(frozen=True)
class Sprites:
    """By class: `emoji` uint8 [64, 64, 4], `grey` (clothes and handwritten digits) uint8 [28, 28]."""

    emoji: Tiles
    grey: Tiles

    def save(self, folder: Path) -> None:
        """Write the sheets."""
        with atomic_folder(folder, KIND, overwrite=True) as made:
            names = {}
            for sheet, tiles in (("emoji", self.emoji), ("grey", self.grey)):
                flat = [(name, tile) for name, own in tiles.items() for tile in own]
                Image.fromarray(_sheet([tile for _, tile in flat])).save(made / f"{sheet}.png", optimize=True)
                names[sheet] = [name for name, _ in flat]
            (made / "sprites.json").write_text(json.dumps(names) + "\n", "utf-8")

    @staticmethod
    def load(folder: Path) -> Sprites:
        """Read them; raises ValueError where a class is missing."""
        names = read_object(folder / "sprites.json")
        found = Sprites(*(_tiles(folder / f"{sheet}.png", names[sheet], side) for sheet, side in SIDES))
        missing = ({*EMOJI} - {*found.emoji}) | ({*FASHION, *DIGITS} - {*found.grey})
        if missing:
            raise ValueError(f"{folder}: want pictures of every class, got none of {', '.join(sorted(missing))}")
        return found


SIDES = (("emoji", 64), ("grey", 28))


def _sheet(tiles: Sequence[np.ndarray]) -> np.ndarray:
    side, rest = len(tiles[0]), tiles[0].shape[2:]
    n_rows = -(-len(tiles) // COLUMNS)
    sheet = np.zeros((n_rows * side, COLUMNS * side, *rest), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
    return sheet


def _tiles(path: Path, names: object, side: int) -> Tiles:
    with Image.open(path) as opened:
        sheet = np.asarray(opened)
    if not isinstance(names, list) or len(names) > sheet.shape[0] // side * COLUMNS:
        raise ValueError(f"{path}: want a tile for each of its names")
    found: Tiles = {}
    for number, name in enumerate(names):
        row, column = divmod(number, COLUMNS)
        tile = sheet[row * side : (row + 1) * side, column * side : (column + 1) * side]
        found.setdefault(str(name), []).append(tile)
    return found
