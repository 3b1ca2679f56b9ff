"""The pictures of a split in memory, and which of them a step sees: a number of the step says it all."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.lvlm.features import shards_of
from benchmarks.lvlm.packing import Example, Packed, Seen, pack
from benchmarks.lvlm.questions import questions_of
from benchmarks.lvlm.recipe import Recipe
from benchmarks.lvlm.scene import draw_scene

# what the questions about a picture are taken to need, in tokens
TEXT = 140


@dataclass(frozen=True)
class Grid:
    """Pictures of one size: `rows` x `columns` patches."""

    rows: int
    columns: int
    examples: list[Example]


def load(recipe: Recipe, split: str, kind: str | None = None) -> list[Grid]:
    """The pictures of `split`, of all kinds or one; raises FileNotFoundError where features are missing."""
    found: dict[tuple[int, int], list[Example]] = {}
    for shard in shards_of(recipe, (split,)):
        one = shard.pictures
        if kind in (None, one.kind):
            path: Path = shard.folder(recipe.data) / "shard.safetensors"
            if not path.exists():
                raise FileNotFoundError(f"{path} is missing: python -m benchmarks.lvlm.features makes it")
            stored = load_file(path)
            for place, number in enumerate(shard.numbers):
                questions = questions_of(draw_scene(one.kind, one.split, number, one.grid))
                example = Example(stored["features"][place], stored["labels"][place], questions)
                found.setdefault(one.grid, []).append(example)
    return [Grid(*size, examples) for size, examples in found.items()]


def step_batch(grids: list[Grid], recipe: Recipe, step: int) -> Packed:
    """What step number `step` of a run sees; nothing else hangs on what was drawn before."""
    settings, draw = recipe.training, random.Random(f"{recipe.seed}/{step}")
    grid = draw.choices(grids, [len(grid.examples) for grid in grids])[0]
    n_patches = grid.rows * grid.columns
    n_left = n_patches
    if draw.random() < settings.thinned:
        n_left = max(1, round(n_patches * draw.uniform(settings.least_kept, 1)))
    count = max(1, min(settings.batch_tokens // (n_left + TEXT), len(grid.examples)))
    generator = torch.Generator().manual_seed(draw.getrandbits(48))
    seen = [Seen(left(grid, n_left, draw, generator), draw.random() < 0.5) for _ in range(count)]
    return pack(draw.sample(grid.examples, count), seen)


def left(grid: Grid, n: int, draw: random.Random, generator: torch.Generator) -> torch.Tensor:
    """`n` patches that stay, ascending: single ones, or spots and stains where the noise is coarse."""
    size, weight = (grid.rows, grid.columns), draw.random()
    coarse = torch.rand(1, 1, draw.randint(2, 6), draw.randint(2, 6), generator=generator)
    stains = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[0, 0]
    noise = weight * stains + (1 - weight) * torch.rand(size, generator=generator)
    return noise.flatten().topk(n).indices.sort().values
