"""How a model is reached: where image features join the text, where the decoder begins, where visual tokens stand.

An adapter is one file in `adapters/`; `generic` works through transformers' public structure and is asked last.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

import torch
from torch import nn

from prunekernels import registry

PACKAGE = "tokenpruner.adapters"
GENERIC = "generic"


class Sighting(threading.local):
    """What the forward pass that runs in this thread has shown: `visual` bool [B, L] and the images' sizes."""

    visual: torch.Tensor | None = None
    sizes: list[int] | None = None

    def clear(self) -> None:
        """Forget the last forward pass."""
        self.visual = self.sizes = None


class Adapter(ABC):
    """One model, as pruning sees it.

    `merger` is the module whose forward puts image features among the text embeddings, `backbone` the one with
    the decoder layers, which the merger calls with `inputs_embeds`.
    """

    merger: nn.Module
    backbone: nn.Module

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @classmethod
    @abstractmethod
    def matches(cls, model: nn.Module) -> bool:
        """True where this adapter fits `model`."""

    @abstractmethod
    def watch(self, sighting: Sighting) -> AbstractContextManager[None]:
        """While open, every forward pass of the merger leaves in `sighting` where its visual tokens stand."""

    @abstractmethod
    def grid(self, size: int) -> tuple[int, int] | None:
        """Rows and columns of an image of `size` visual tokens, if they are known."""


def find(model: nn.Module) -> Adapter:
    """The adapter of `model`; raises ValueError where it has no visual tokens that could be found."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"want a transformers model, got {type(model).__name__}")
    special = [name for name in registry.names(PACKAGE) if name != GENERIC]
    for name in [*special, GENERIC]:
        kind = registry.load(PACKAGE, name, Adapter)  # type: ignore[type-abstract]
        if kind.matches(model):
            return kind(model)
    raise ValueError(
        f"{type(model).__name__} has no visual tokens: want a vision-language model, which has "
        "get_image_features, get_placeholder_mask and a text backbone"
    )
