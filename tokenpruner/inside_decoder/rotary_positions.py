"""Positions of tokens behind a cut, numbered anew: what a layer gets under positions="compact".

A token's position is lowered by the number of tokens cut before it, and whatever follows by the number cut in its
row, layer by layer. Rotary embeddings were made for the old positions, so the backbone's own module makes new ones.
"""

from __future__ import annotations

import inspect

import torch
from torch import nn

from tokenpruner.decoder.kept_tokens import KeptTokens
from tokenpruner.decoder.packed_rows import counts_within
from tokenpruner.inside_decoder.layer_arguments import EMBEDDINGS, POSITIONS
from tokenpruner.models.decoder_layers import FULL, SLIDING
from tokenpruner.models.transformers_api import Kwargs

ROTARY_ARGUMENTS = {"self", "x", "position_ids", "layer_type"}


class RotaryPositions:
    """How the layers of one backbone are told positions; raises ValueError where it cannot be done anew."""

    def __init__(self, backbone: nn.Module) -> None:
        rotary = getattr(backbone, "rotary_emb", None)
        if not isinstance(rotary, nn.Module):
            raise ValueError(f'positions="compact" wants {type(backbone).__name__} to have rotary_emb, it has none')
        self.rotary = rotary
        self.by_type = "layer_type" in inspect.signature(type(rotary).forward).parameters
        self.types = getattr(getattr(backbone, "config"), "layer_types", None)  # noqa: B009

    def check(self, number: int, given: Kwargs, positions: torch.Tensor) -> None:
        """Raise unless layer `number` was given the embeddings of `positions` int64 [B, L]."""
        made = self._made(number, given, positions)
        for old, new in zip(given[EMBEDDINGS], made, strict=True):  # type: ignore[call-overload]
            if not torch.equal(old.expand_as(new), new):
                raise ValueError('positions="compact" wants embeddings that follow from positions alone: take "keep"')

    def renumbered(self, number: int, given: Kwargs, positions: torch.Tensor) -> Kwargs:
        """What layer `number` gets for tokens at `positions` int64 [B, P]."""
        changed: Kwargs = {EMBEDDINGS: self._made(number, given, positions)}
        return changed | ({POSITIONS: positions} if given.get(POSITIONS) is not None else {})

    def _made(self, number: int, given: Kwargs, positions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        like = given.get(EMBEDDINGS)
        if not isinstance(like, tuple) or not all(isinstance(table, torch.Tensor) for table in like):
            raise ValueError(f'positions="compact" wants cosines and sines, got {type(like).__name__}')
        kind = (self.types[number],) if self.by_type and self.types else ()
        return tuple(self.rotary(like[0], positions.to(like[0].device), *kind))


@torch.no_grad()
def can_number_anew(backbone: nn.Module) -> bool:
    """True where the layers of `backbone` are told positions by cosines and sines that it makes of them alone."""
    rotary = getattr(backbone, "rotary_emb", None)
    if not isinstance(rotary, nn.Module) or {*inspect.signature(type(rotary).forward).parameters} - ROTARY_ARGUMENTS:
        return False
    weight = next(backbone.parameters())
    positions = torch.zeros(1, 1, dtype=torch.int64, device=weight.device)
    kinds: list[tuple[str, ...]] = [()]
    if "layer_type" in inspect.signature(type(rotary).forward).parameters:
        types = getattr(getattr(backbone, "config"), "layer_types", None) or ()  # noqa: B009
        kinds = [(kind,) for kind in sorted({*types} & {FULL, SLIDING})]
    made = [rotary(weight.new_zeros(1, 1, 1), positions, *kind) for kind in kinds]
    return all(isinstance(own, tuple) and all(isinstance(table, torch.Tensor) for table in own) for own in made)


def lowered_positions(
    positions: torch.Tensor, kept: KeptTokens, real: torch.Tensor, samples: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions [B, P] of what is left of [B, L], `real` of which entered, and how many were cut, int64 [B].

    `samples` int64 [B, L] are those of packed rows: what follows goes on behind the last one.
    """
    stays = torch.zeros_like(real).scatter_(1, kept.index, kept.mask)
    gone = counts_within(real & ~stays, samples)
    positions = (positions - gone).gather(1, kept.index)
    return positions.masked_fill(~kept.mask, 0), gone[:, -1]
