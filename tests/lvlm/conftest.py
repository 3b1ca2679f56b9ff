"""A tower, sprites and a recipe so small that a step takes no time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.lvlm.features import Standard, shards_of
from benchmarks.lvlm.recipe import Recipe
from benchmarks.lvlm.sprites import Sprites
from benchmarks.lvlm.vocabulary import CONTENTS, DIGITS, EMOJI, FASHION

WIDTH = 12
RECIPE = """
data: {folder}/data
run: {folder}/run
tower: {folder}/tower
model: {folder}/model
blocks: 2
seed: 3
train:
  - {{grid: [4, 4], main: 10, reading: 4}}
  - {{grid: [3, 5], main: 6}}
validation:
  - {{grid: [4, 4], main: 2}}
test:
  - {{grid: [4, 4], main: 2}}
decoder: {{width: 32, inner: 48, layers: 2, heads: 4}}
training: {{steps: 6, batch_tokens: 600, warm_up: 1, decay: 0.5, precision: float32, thinned: 0.5}}
"""


@pytest.fixture
def sprites() -> Sprites:
    """Two tiles of noise for each class."""
    draw = np.random.default_rng(0)
    return Sprites(
        {name: [*draw.integers(0, 256, (2, 64, 64, 4), dtype=np.uint8)] for name in EMOJI},
        {name: [*draw.integers(1, 256, (2, 28, 28), dtype=np.uint8)] for name in (*FASHION, *DIGITS)},
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """As `recipe_in` makes it."""
    return recipe_in(tmp_path)


def recipe_in(folder: Path) -> Recipe:
    """With a tower of three blocks of noise, and features of noise for its pictures."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=WIDTH, num_attention_heads=2, num_hidden_layers=3, image_size=56, initializer_range=0.3
    )
    Dinov2Model(config).save_pretrained(folder / "tower")
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder), "utf-8")
    recipe = Recipe.read(folder / "recipe.yaml")
    for shard in shards_of(recipe):
        n, (rows, columns) = len(shard.numbers), shard.pictures.grid
        made = shard.folder(recipe.data)
        made.mkdir(parents=True)
        stored = {
            "features": torch.randint(-99, 99, (n, rows * columns, WIDTH)).to(torch.int8),
            "labels": torch.randint(0, 5, (n, rows * columns, 4)).to(torch.uint8),
        }
        stored["labels"][..., 0] = torch.randint(0, len(CONTENTS), (n, rows * columns))
        save_file(stored, made / "shard.safetensors")
    return recipe


@pytest.fixture(scope="session")
def standard() -> Standard:
    """Mean and deviation that halves can hold."""
    return Standard(torch.arange(WIDTH) / 4 - 1, torch.tensor([0.5, 2.0] * (WIDTH // 2)))


def with_training(recipe: Recipe, **changes: object) -> Recipe:
    """The recipe with other settings of its training."""
    training = dataclasses.replace(recipe.training, **changes)
    return dataclasses.replace(recipe, training=training)
