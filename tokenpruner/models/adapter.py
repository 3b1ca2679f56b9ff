"""How a model is reached: where image features join the text, where the decoder begins, where visual tokens stand.

An adapter is one file in `adapters/`; `generic` works through transformers' public structure and is asked last.
"""

from __future__ import annotations

import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from prunekernels import registry
from tokenpruner.models import image_tokens
from tokenpruner.models.image_layouts import Given, Grid, Layout, LayoutMemory
from tokenpruner.models.image_tokens import ImageTokens

PACKAGE = "tokenpruner.adapters"
GENERIC = "generic"


@dataclass(frozen=True)
class Encoded:
    """Images that have been encoded: arguments `given`, by name, and the `output`, which `again` makes once more."""

    given: Given
    output: object
    again: Callable[[], object]


class FeatureReader(Protocol):
    """What listens to the vision tower while images are encoded, and tells of their tokens."""

    def watch(self) -> AbstractContextManager[None]:
        """While open, it listens, whichever thread encodes."""

    def read(self, encoded: Encoded, layouts: Sequence[Layout] | None) -> tuple[object, list[Layout] | None]:
        """The output to go on with, and `layouts` with what the tower says of their tokens."""

    def forget(self) -> None:
        """Hold nothing more of what this thread has encoded."""


class VisualTokenRecorder(threading.local):
    """What the forward pass that runs in this thread has shown, kind by kind ("image", "video").

    `masks` are bool [B, L], True where a token of that kind stands; `layouts` say how each image or video lies, and
    what the vision tower says of its tokens where there is a `reader`.
    """

    def __init__(self, reader: FeatureReader | None = None) -> None:
        self.reader = reader
        self.masks: dict[str, torch.Tensor] = {}
        self.layouts: dict[str, list[Layout] | None] = {}
        self.memory = LayoutMemory()
        # videos may be encoded through the method for images
        self.is_encoding = False

    def clear(self) -> None:
        """Forget the last forward pass."""
        self.masks, self.layouts = {}, {}

    def take(self) -> VisualTokens | None:
        """What was shown, forgotten here; None where no visual token was."""
        # placeholders without features are plain embeddings
        masks, layouts = {kind: mask for kind, mask in self.masks.items() if kind in self.layouts}, self.layouts
        self.clear()
        return VisualTokens(masks, layouts) if masks else None


@dataclass(frozen=True)
class VisualTokens:
    """The visual tokens of one forward pass, as `VisualTokenRecorder` saw them."""

    masks: dict[str, torch.Tensor]
    layouts: dict[str, list[Layout] | None]

    def images(self) -> list[ImageTokens]:
        """The images and the frames of videos, in the order of the rows."""
        found = [image_tokens.find(mask, self.layouts.get(kind)) for kind, mask in self.masks.items()]
        return image_tokens.numbered(found) if len(found) > 1 else found[0]


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

    @property
    def has_mrope(self) -> bool:
        """True where a token's position is its place in time, height and width, which cannot be counted anew."""
        return hasattr(self.merger, "get_rope_index")

    @abstractmethod
    def watch(self, recorder: VisualTokenRecorder) -> AbstractContextManager[None]:
        """While open, every forward pass of the merger leaves in `recorder` where its visual tokens stand."""

    @abstractmethod
    def grid(self, size: int) -> Grid | None:
        """Rows and columns of an image of `size` visual tokens of which nothing else is known, if they can be told."""


def find(model: nn.Module) -> Adapter:
    """The adapter of `model`; raises ValueError where it has no visual tokens that could be found."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"want a transformers model, got {type(model).__name__}")
    for kind in kinds():
        if kind.matches(model):
            return kind(model)
    raise ValueError(
        f"{type(model).__name__} has no visual tokens: want a vision-language model, which has "
        "get_image_features, get_placeholder_mask and a text backbone"
    )


def fits(model: nn.Module) -> bool:
    """True for a vision-language model: one of the adapters fits it."""
    return any(kind.matches(model) for kind in kinds()) if isinstance(model, nn.Module) else False


def kinds() -> list[type[Adapter]]:
    """All adapters, the generic one last; one of another package that cannot be loaded is warned of and passed over."""
    found, failed = registry.methods(PACKAGE, Adapter)  # type: ignore[type-abstract]
    for reason in failed.values():
        warnings.warn(reason, stacklevel=3)
    return [*(kind for name, kind in found.items() if name != GENERIC), found[GENERIC]]


def config_number(config: object, name: str) -> int | None:
    """A number of a config, None where it has none; one that differs by layer is that of the config as a whole."""
    try:
        value = getattr(config, name, None)
    except RuntimeError:
        # transformers will not say it of a model whose layers differ
        value = vars(config).get(name)
    return int(value) if isinstance(value, int) else None
