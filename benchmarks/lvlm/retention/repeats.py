"""Tokens that stand in several rows of a batch, computed once: prompts about one picture begin with its tokens.

    user | patches | question 1
    user | patches | question 2        the same up to here, in every layer: a token sees what is before it

A layer's projections and its MLP work token by token. While `computed_once` is open they are given one of each, and
what they say is put wherever it belongs; attention itself runs as ever. Where the batch no longer has the shape of the
prompts, behind a cut or when answers are written, nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from tokenpruner.models.overrides import attribute_replaced

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

Shape = tuple[int, int]
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Repeats:
    """Of tokens counted row by row: `first` int64 [U] are the different ones, `place` int64 [B L] which one each is."""

    first: torch.Tensor
    place: torch.Tensor

    @staticmethod
    def of(pictures: Sequence[int], starts: Sequence[int], length: int, n_shared: int) -> Repeats:
        """Rows of `length` tokens, each about one of `pictures`; `n_shared` from `starts` on are the picture's."""
        rows, columns = torch.arange(len(pictures))[:, None], torch.arange(length)[None]
        begin = torch.tensor(starts)[:, None]
        # the first row about the same picture
        other = torch.tensor([pictures.index(picture) for picture in pictures])[:, None]
        is_shared = (columns >= begin) & (columns < begin + n_shared)
        same = other * length + columns - begin + begin[other[:, 0]]
        first, place = torch.where(is_shared, same, rows * length + columns).flatten().unique(return_inverse=True)
        return Repeats(first, place)

    def to(self, device: torch.device) -> Repeats:
        """On a device."""
        return Repeats(self.first.to(device), self.place.to(device))


@contextmanager
def computed_once(model: LlavaForConditionalGeneration, shapes: dict[Shape, Repeats]) -> Iterator[None]:
    """While open, what works token by token in `model` computes one of each of the tokens that a shape repeats."""
    layers = model.model.language_model.layers
    modules = [model.model.multi_modal_projector, *(layer.mlp for layer in layers)]
    modules += [getattr(layer.self_attn, name) for layer in layers for name in PROJECTIONS]
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(attribute_replaced(module, "forward", _once(module, shapes)))
        yield


def _once(module: nn.Module, shapes: dict[Shape, Repeats]) -> Callable[[torch.Tensor], torch.Tensor]:
    plain = module.forward

    def forward(values: torch.Tensor) -> torch.Tensor:
        repeats = shapes.get((values.shape[0], values.shape[1])) if values.ndim == 3 else None
        if repeats is None:
            return plain(values)
        return plain(values.flatten(0, 1)[repeats.first])[repeats.place].unflatten(0, values.shape[:2])

    return forward
