"""A tower, sprites and a recipe so small that a step takes no time; a model that knows two pictures by heart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

from benchmarks.lvlm.assembly import assemble
from benchmarks.lvlm.export import export
from benchmarks.lvlm.features import SCALE, Standard, shards_of
from benchmarks.lvlm.learner import new_learner
from benchmarks.lvlm.packing import Example, Seen, pack
from benchmarks.lvlm.questions import Question
from benchmarks.lvlm.recipe import Recipe
from benchmarks.lvlm.retention.subject import Picture, Subject
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
QUESTIONS = tuple(
    [
        Question("region", "what is in the top left ?", name),
        Question("number", "what number is on the red sign ?", number),
    ]
    for name, number in (("cat", "4 7"), ("dog", "3 1"))
)


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


@pytest.fixture(scope="session")
def asked() -> list[Picture]:
    """Two pictures of other brightness and colours."""
    draw = torch.Generator().manual_seed(0)
    return [
        Picture(torch.randn(1, 3, 224, 224, generator=draw) + (-1) ** number, questions)
        for number, questions in enumerate(QUESTIONS)
    ]


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory, standard: Standard, asked: list[Picture]) -> Subject:
    """A model that has learned the answers by heart."""
    recipe = recipe_in(tmp_path_factory.mktemp("lvlm"))
    learner = new_learner(recipe)
    export(learner, recipe, standard, "card")
    made = Subject.load(assemble(recipe.model, recipe.tower, recipe.run.parent / "first"))
    examples = []
    for picture in asked:
        hidden = made.hidden(picture.pixels)[0, 1:].clone()
        features = (hidden - standard.mean) / standard.deviation * SCALE
        examples.append(Example(features, torch.zeros(256, 4, dtype=torch.uint8), picture.questions))
    optimizer = torch.optim.Adam(learner.parameters(), 5e-3)
    for step in range(60):
        left = torch.randperm(256, generator=torch.Generator().manual_seed(step))[:64].sort().values
        said = learner(pack(examples, [Seen(left, step % 2 == 0)] * 2))
        loss = cross_entropy(said.logits, said.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.7
    export(learner.eval(), recipe, standard, "card")
    return Subject.load(assemble(recipe.model, recipe.tower, recipe.run.parent / "whole"))


def with_training(recipe: Recipe, **changes: object) -> Recipe:
    """The recipe with other settings of its training."""
    training = dataclasses.replace(recipe.training, **changes)
    return dataclasses.replace(recipe, training=training)
