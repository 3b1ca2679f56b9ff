"""Attention and keys of the vision tower, where vLLM runs transformers' own (`--model-impl transformers`)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from tokenpruner.models import adapter
from tokenpruner.models.adapter import Encoded
from tokenpruner.models.image_layouts import Layout, layouts_of
from tokenpruner.models.overrides import method_wrapped
from tokenpruner.models.tower_reader import TowerReader
from tokenpruner.models.tower_reading import TowerNeed

FEATURES = "get_image_features"


@contextmanager
def watched_tower(
    model: nn.Module, needs: frozenset[TowerNeed], layer: int, newline: torch.Tensor | None
) -> Iterator[list[Layout]]:
    """While open, the images that `model` of transformers encodes leave their layouts here, with what is read of them.

    Raises ValueError for a tower that cannot be read.
    """
    own = adapter.find(model)
    reader = TowerReader(own.merger, own.backbone, needs, layer)
    found: list[Layout] = []

    def wrap(original: Callable[..., object]) -> Callable[..., object]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapped(*args: object, **kwargs: object) -> object:
            output = original(*args, **kwargs)
            given = signature.bind(*args, **kwargs).arguments
            given = {**given, **given.get("kwargs", {})}
            encoded = Encoded(given, output, functools.partial(original, *args, **kwargs))
            found.extend(reader.read(encoded, layouts_of(output, given, newline))[1])
            return output

        return wrapped

    with reader.watch(), method_wrapped(own.merger, FEATURES, wrap):
        yield found
