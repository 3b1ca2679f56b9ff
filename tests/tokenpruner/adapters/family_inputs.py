"""Inputs for any tiny model: pixels in the layout its `get_image_features` asks for, and a prompt to hold them.

How many placeholders an image needs is read from the features that the model makes of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

Row = Sequence[int | str]
Tensors = dict[str, torch.Tensor]
SIDE = 64


@dataclass
class Feed:
    """How pictures are handed to one model: `layout` of the pixels, `size` tokens each, the placeholder's `token`."""

    model: nn.Module
    layout: str
    token: int
    size: int = 0

    def pictures(self, counts: Sequence[int], seed: int = 3) -> Tensors:
        """Pixels and what goes with them, for rows of so many pictures each."""
        return LAYOUTS[self.layout](self.model, counts, torch.Generator().manual_seed(seed))

    def encode(self, rows: Sequence[Row], side: str = "left", seed: int = 3) -> Tensors:
        """Processor output for rows such as [3, "I", 2]: three text tokens, a picture, two text tokens."""
        generator = torch.Generator().manual_seed(seed)
        prompts: list[list[int]] = []
        for row in rows:
            ids: list[int] = []
            for part in row:
                text = torch.randint(6, 140, (0 if isinstance(part, str) else part,), generator=generator)
                ids += [self.token] * self.size if isinstance(part, str) else text.tolist()
            prompts.append(ids)
        length = max(map(len, prompts))
        input_ids = torch.zeros(len(rows), length, dtype=torch.int64)
        mask = torch.zeros_like(input_ids)
        for number, ids in enumerate(prompts):
            where = slice(length - len(ids), length) if side == "left" else slice(0, len(ids))
            input_ids[number, where], mask[number, where] = torch.tensor(ids), 1
        counts = [sum(isinstance(part, str) for part in row) for row in rows]
        inputs = {"input_ids": input_ids, "attention_mask": mask}
        if sum(counts):
            inputs |= self.pictures(counts, seed)
        return inputs | self.types(inputs)

    def only(self, inputs: Tensors, rows: Sequence[Row], number: int) -> Tensors:
        """The pictures of one row of a batch."""
        counts = [sum(isinstance(part, str) for part in row) for row in rows]
        first, last = sum(counts[:number]), sum(counts[: number + 1])
        found: Tensors = {}
        for name, value in inputs.items():
            if name in ("input_ids", "attention_mask", *self.types(inputs)):
                continue
            if self.layout == "strip" and name == "pixel_values":
                found[name] = value[..., first * 512 : last * 512]
            elif self.layout == "by_row":
                found[name] = value[number : number + 1, : counts[number]]
            else:
                each = len(value) // sum(counts)
                found[name] = value[first * each : last * each]
        return found

    def types(self, inputs: Tensors) -> Tensors:
        """What says of each token whether it is of an image, under the name that the model has for it."""
        names = inspect.signature(self.model.forward).parameters
        marks = (inputs["input_ids"] == self.token).long()
        return {name: marks.clone() for name in ("mm_token_type_ids", "token_type_ids") if name in names}


def plain(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """One picture a line."""
    return {"pixel_values": torch.randn(sum(counts), 3, SIDE, SIDE, generator=generator)}


def sized(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """One picture a line, with its height and width."""
    return plain(model, counts, generator) | {"image_sizes": torch.full((sum(counts), 2), SIDE)}


def patches(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """All patches of all pictures below each other, and the grid of each."""
    vision = model.config.vision_config
    side = getattr(vision, "patch_size", 8)
    depth = getattr(vision, "temporal_patch_size", 1)
    channels = getattr(vision, "in_channels", getattr(vision, "num_channels", 3))
    grid = torch.tensor([[1, 8, 8]] * sum(counts))
    values = torch.randn(64 * sum(counts), channels * depth * side * side, generator=generator)
    return {"pixel_values": values, "image_grid_thw": grid}


def tiles(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """A thumbnail and two tiles a picture."""
    values = torch.randn(sum(counts), 3, 3, SIDE, SIDE, generator=generator)
    return {"pixel_values": values, "image_sizes": torch.tensor([[2 * SIDE, SIDE]] * sum(counts))}


def by_row(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """Rows of pictures, filled up with zeros."""
    drawn = torch.randn(sum(counts), 3, SIDE, SIDE, generator=generator)
    values = torch.zeros(len(counts), max(counts), 3, SIDE, SIDE)
    mask = torch.zeros(len(counts), max(counts), SIDE, SIDE, dtype=torch.bool)
    for row, own in enumerate(drawn.split(list(counts))):
        values[row, : len(own)], mask[row, : len(own)] = own, True
    return {"pixel_values": values, "pixel_attention_mask": mask}


def squares(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """All patches of all pictures below each other, each a square."""
    flat = patches(model, counts, generator)
    side = model.config.vision_config.patch_size
    return flat | {"pixel_values": flat["pixel_values"].view(64 * sum(counts), -1, side, side)}


def pairs(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """Patches of two frames each."""
    flat = patches(model, counts, generator)
    return flat | {"pixel_values": flat["pixel_values"].repeat(1, 2)}


def merged(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """Patches, and how many of them on a side become one token."""
    return patches(model, counts, generator) | {"image_merge_sizes": torch.ones(sum(counts), dtype=torch.int64)}


def navit(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """The patches of each picture in a row, and their grid."""
    values = torch.randn(sum(counts), 64, 3 * 8 * 8, generator=generator)
    shapes = torch.full((sum(counts), 2), 8)
    mask = torch.ones(sum(counts), 64, dtype=torch.int64)
    return {"pixel_values": values, "spatial_shapes": shapes, "pixel_attention_mask": mask}


def strip(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """The patches of all pictures side by side in one long picture, and the grid of each."""
    values = torch.randn(1, 3, 8, 8 * 64 * sum(counts), generator=generator)
    return {"pixel_values": values, "target_sizes": torch.full((sum(counts), 2), 8)}


def placed(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """The patches of each picture in a row, and where each stands."""
    values = torch.rand(sum(counts), 64, 3 * 8 * 8, generator=generator)
    places = torch.cartesian_prod(torch.arange(8), torch.arange(8)).flip(-1)
    return {"pixel_values": values, "image_position_ids": places.repeat(sum(counts), 1, 1)}


def asked(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """Pictures, and a question to each of them."""
    ids = torch.randint(6, 140, (sum(counts), 4), generator=generator)
    extra = {"qformer_input_ids": ids, "qformer_attention_mask": torch.ones_like(ids)}
    return plain(model, counts, generator) | extra


def twice(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """One picture a line, small and large."""
    return plain(model, counts, generator) | {
        "high_res_pixel_values": torch.randn(sum(counts), 3, SIDE, SIDE, generator=generator)
    }


def drawn(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """The patches of each picture in a row, with nothing beside them."""
    return {"pixel_values": torch.randn(sum(counts), 64, 3 * 8 * 8, generator=generator)}


def tiled(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """Rows of pictures, filled up with zeros, and which of them are real."""
    inputs = by_row(model, counts, generator)
    return inputs | {"pixel_attention_mask": inputs["pixel_attention_mask"].flatten(2).any(-1)}


def areas(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """All patches of all pictures below each other, and the height and width of each."""
    values = torch.randn(64 * sum(counts), 3 * 8 * 8, generator=generator)
    return {"pixel_values": values, "image_grid_hw": torch.full((sum(counts), 2), 8)}


def blocks(model: nn.Module, counts: Sequence[int], generator: torch.Generator) -> Tensors:
    """One square of four patches a token, colours last, and the grid of each picture in tokens."""
    values = torch.randn(16 * sum(counts), 16, 16, 3, generator=generator)
    return {"pixel_values": values, "image_grid_thw": torch.tensor([[1, 4, 4]] * sum(counts))}


KINDS = (
    blocks,
    areas,
    twice,
    drawn,
    tiled,
    plain,
    sized,
    patches,
    tiles,
    by_row,
    squares,
    pairs,
    merged,
    navit,
    asked,
    strip,
    placed,
)
LAYOUTS = {function.__name__: function for function in KINDS}


def core_of(model: nn.Module) -> nn.Module:
    """The module that puts image features among the text."""
    core = getattr(model, "model", model)
    return core if hasattr(core, "get_image_features") else model


def guess(model: nn.Module) -> str:
    """The layout that the signature of `get_image_features` speaks of."""
    core = core_of(model)
    names = inspect.signature(core.get_image_features).parameters
    if "image_grid_thw" in names:
        return "patches"
    if "pixel_attention_mask" in names:
        return "by_row"
    if hasattr(model.config, "image_grid_pinpoints"):
        return "tiles"
    if "image_sizes" in names and type(core).__name__ != "LlavaModel":
        return "sized"
    return "plain"


@torch.no_grad()
def feed_of(model: nn.Module, layout: str | None = None) -> Feed:
    """How `model` is fed; raises whatever the model raises where the guess is wrong."""
    config, core = model.config, core_of(model)
    token = getattr(config, "image_token_id", None)
    token = getattr(config, "image_token_index", token) if token is None else token
    feed = Feed(model, layout or guess(model), int(token))
    given = feed.pictures([1])
    names = inspect.signature(core.get_image_features).parameters
    output = core.get_image_features(**{name: value for name, value in given.items() if name in names})
    features = getattr(output, "pooler_output", output)
    features = output.last_hidden_state if features is None else features
    if isinstance(features, list | tuple):
        features = torch.cat(list(features))
    feed.size = features.numel() // features.shape[-1]
    return feed
