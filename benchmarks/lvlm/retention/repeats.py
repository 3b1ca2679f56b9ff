"""Tokens that stand in several rows of a batch, computed once: prompts about one picture begin with its tokens.

    user | patches | question 1
    user | patches | question 2        the same up to here, in every layer: a token sees what is before it

A layer's projections and its MLP work token by token. While `computed_once` is open they are given one of each, and
what they say is put wherever it belongs; attention itself runs as ever. Where the batch no longer has the shape of the
prompts, behind a cut or when answers are written, or where its rows have parted, nothing is done.
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
# of the largest number, far above rounding: rows that differ by more are no repeats
PARTED = 1e-3
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
def computed_once(
    model: LlavaForConditionalGeneration, prompts: dict[Shape, Repeats], pictures: dict[Shape, Repeats]
) -> Iterator[None]:
    """While open, what works token by token in `model` computes one of each of the tokens that a shape repeats.

    `prompts` are of the decoder and `pictures` of the projector: what a cut leaves may be as long as a picture.
    """
    layers = model.model.language_model.layers
    modules = [(layer.mlp, prompts) for layer in layers]
    modules += [(getattr(layer.self_attn, name), prompts) for layer in layers for name in PROJECTIONS]
    with ExitStack() as stack:
        for module, shapes in [(model.model.multi_modal_projector, pictures), *modules]:
            stack.enter_context(attribute_replaced(module, "forward", _once(module, shapes)))
        yield


def _once(module: nn.Module, shapes: dict[Shape, Repeats]) -> Callable[[torch.Tensor], torch.Tensor]:
    plain = module.forward

    def forward(values: torch.Tensor) -> torch.Tensor:
        repeats = shapes.get((values.shape[0], values.shape[1])) if values.ndim == 3 else None
        if repeats is None:
            return plain(values)
        flat = values.flatten(0, 1)
        own = flat[repeats.first]
        # a layer that some rows skip, or tokens that only some keep: rows about one picture have parted
        if (own[repeats.place] - flat).abs().amax() > PARTED * flat.abs().amax():
            return plain(values)
        return plain(own)[repeats.place].unflatten(0, values.shape[:2])

    return forward
