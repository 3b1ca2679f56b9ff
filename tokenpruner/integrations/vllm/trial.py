"""A method tried on random tokens of an image's shape, before such an image enters an engine that it could end."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch

from tokenpruner.base.before_decoder import Method
from tokenpruner.integrations.vllm.kept_embeddings import kept_embeddings
from tokenpruner.models.image_layouts import Layout, layouts_of
from tokenpruner.models.tower_reading import TowerReading

# of the tokens that it is tried on; methods ask for no more
WIDTH = 8


def layout_of_item(size: int, data: Mapping[str, object]) -> Layout:
    """How the `size` tokens of one image lie, whose arguments for the model are `data`."""
    given = {name: value[None] for name, value in data.items() if isinstance(value, torch.Tensor)}
    found = layouts_of([torch.empty(size, WIDTH)], given)
    return found[0] if found else Layout(size)


def try_method(method: Method, size: int, data: Mapping[str, object]) -> None:
    """Raise ValueError, as the method does, where it cannot prune an image of `size` tokens."""
    _tried(method, layout_of_item(size, data))


@functools.lru_cache(maxsize=1024)
def _tried(method: Method, layout: Layout) -> None:
    generator = torch.Generator().manual_seed(0)
    values, text = (torch.randn(n, WIDTH, generator=generator) for n in (layout.size, 4))
    attention = torch.rand(layout.size, generator=generator)
    keys = torch.randn(layout.size, 2, WIDTH // 2, generator=generator)
    needs = method.tower_needs()[0]
    told = {"class_attention": attention, "joint_attention": attention, "keys": keys}
    reading = TowerReading(**{name: own for name, own in told.items() if name in needs}) if needs else None
    kept_embeddings(values, text, Layout(layout.size, layout.n_frames, layout.views, layout.newlines, reading), method)
