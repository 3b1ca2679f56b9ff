"""Pictures of a recipe through the frozen tower, once: what it says of each patch, kept in 8 bits.

    data/standard.safetensors       mean and deviation of each of the tower's numbers, float32 [384]
    data/SPLIT/ROWSxCOLUMNS-KIND/N  a shard: features int8 [n, patches, 384], labels uint8 [n, patches, 4]

A stored number is round(16 * (x - mean) / deviation), at most 127. What is there already is left; killed, it goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.lvlm.drawing import Drawn, draw
from benchmarks.lvlm.recipe import Pictures, Recipe
from benchmarks.lvlm.scene import draw_scene
from benchmarks.lvlm.sprites import SPLITS, Sprites
from benchmarks.lvlm.tower import Tower
from prunekernels.io.outputs import atomic_file, atomic_folder, folder_lock

KIND, SCALE, SHARD, BATCH = "lvlm features", 16.0, 250, 25
# pictures of each kind that mean and deviation are taken over
N_STANDARD = 64


@dataclass(frozen=True)
class Standard:
    """Mean and deviation of the tower's numbers, float32 [384]."""

    mean: torch.Tensor
    deviation: torch.Tensor

    @staticmethod
    def load(data: Path) -> Standard:
        """Read it."""
        return Standard(**load_file(data / "standard.safetensors"))

    def stored(self, hidden: torch.Tensor) -> torch.Tensor:
        """int8, of the shape of `hidden`."""
        return ((hidden.float() - self.mean) / self.deviation * SCALE).round().clamp(-127, 127).to(torch.int8)


@dataclass(frozen=True)
class Shard:
    """Scenes `first` to `last` of some pictures, and the folder of their features."""

    pictures: Pictures
    first: int
    last: int

    def folder(self, data: Path) -> Path:
        """Where it lies."""
        rows, columns = self.pictures.grid
        return data / self.pictures.split / f"{rows}x{columns}-{self.pictures.kind}" / f"{self.first}"

    @property
    def numbers(self) -> range:
        """Its scenes: pictures of other sizes show other scenes."""
        rows, columns = self.pictures.grid
        start = (rows * 100 + columns) * 1_000_000
        return range(start + self.first, start + self.last)


def shards_of(recipe: Recipe, splits: Sequence[str] = SPLITS) -> list[Shard]:
    """All that the recipe wants; kinds and sizes take turns."""
    lines = [
        [Shard(one, first, min(first + SHARD, one.number)) for first in range(0, one.number, SHARD)]
        for one in recipe.pictures
        if one.split in splits
    ]
    return [shard for row in zip_longest(*lines) for shard in row if shard]


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe.read(options.recipe)
    with folder_lock(recipe.data, "making features in it"):
        _make(recipe)


def _make(recipe: Recipe) -> None:
    sprites = {split: Sprites.load(recipe.data / "sprites" / split) for split in SPLITS}
    tower = Tower.load(recipe.tower, recipe.blocks)
    standard = standard_of(recipe, tower, sprites["train"])
    wanted = [shard for shard in shards_of(recipe) if not shard.folder(recipe.data).exists()]
    started, done, total = time.monotonic(), 0, sum(len(shard.numbers) for shard in wanted)
    with ThreadPoolExecutor(1) as painter:
        # the next shard is painted while the tower works
        painted = [painter.submit(painted_scenes, shard, sprites[shard.pictures.split]) for shard in wanted[:1]]
        for place, shard in enumerate(wanted):
            drawn = painted.pop().result()
            for later in wanted[place + 1 : place + 2]:
                painted.append(painter.submit(painted_scenes, later, sprites[later.pictures.split]))
            with atomic_folder(shard.folder(recipe.data), KIND) as folder:
                save_file(run(drawn, tower, standard), folder / "shard.safetensors")
            done += len(drawn)
            seconds = time.monotonic() - started
            print(f"{done} of {total} pictures, {done / seconds:.1f} a second", flush=True)


def standard_of(recipe: Recipe, tower: Tower, sprites: Sprites) -> Standard:
    """Made of a few pictures of each kind on first use."""
    path = recipe.data / "standard.safetensors"
    if not path.exists():
        kinds = dict.fromkeys(one.kind for one in recipe.pictures)
        scenes = [Shard(Pictures("train", kind, (16, 16), N_STANDARD), 0, N_STANDARD) for kind in kinds]
        hidden = [tower(batch) for shard in scenes for batch in _batches(painted_scenes(shard, sprites))]
        flat = torch.cat([one.float().flatten(0, 1) for one in hidden])
        with atomic_file(path) as temporary:
            save_file({"mean": flat.mean(0), "deviation": flat.std(0)}, temporary)
    return Standard.load(recipe.data)


def painted_scenes(shard: Shard, sprites: Sprites) -> list[Drawn]:
    """The pictures of a shard and what their patches show."""
    one = shard.pictures
    return [draw(draw_scene(one.kind, one.split, number, one.grid), sprites) for number in shard.numbers]


def run(drawn: Sequence[Drawn], tower: Tower, standard: Standard) -> dict[str, torch.Tensor]:
    """Features and labels of a shard's pictures."""
    features = [standard.stored(tower(batch)) for batch in _batches(drawn)]
    labels = torch.from_numpy(np.stack([one.labels for one in drawn]))
    return {"features": torch.cat(features), "labels": labels}


def _batches(drawn: Sequence[Drawn]) -> Iterator[torch.Tensor]:
    """Pixels uint8 [n, 3, height, width]."""
    for first in range(0, len(drawn), BATCH):
        pixels = [np.array(one.picture).transpose(2, 0, 1) for one in drawn[first : first + BATCH]]
        yield torch.from_numpy(np.stack(pixels))


if __name__ == "__main__":
    main()
