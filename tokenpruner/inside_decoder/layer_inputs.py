"""What each layer is given in a pass of a decoder whose layers see different tokens.

A layer behind a cut gets the mask, positions and other arguments of the tokens that are left; so does, in later
passes, a layer whose cache lacks tokens. Layers that are alike share what was made for the first of them.
"""

from __future__ import annotations

import torch

from tokenpruner.decoder import cache_state
from tokenpruner.decoder.cache_layers import PrunedPrefix
from tokenpruner.decoder.cache_state import Past
from tokenpruner.decoder.kept_tokens import KeptTokens
from tokenpruner.inside_decoder.decoder_pass import DecoderPass
from tokenpruner.inside_decoder.layer_arguments import cut_arguments
from tokenpruner.inside_decoder.layer_masks import layer_mask
from tokenpruner.inside_decoder.rotary_positions import RotaryPositions, lowered_positions
from tokenpruner.models.decoder_layers import DecoderLayers
from tokenpruner.models.transformers_api import Kwargs


class LayerInputs:
    """What the layers of one decoder are given; `rotary` where positions are to be numbered anew."""

    def __init__(self, layers: DecoderLayers, rotary: RotaryPositions | None) -> None:
        self.layers, self.rotary = layers, rotary

    def arguments(self, current: DecoderPass, number: int, given: Kwargs) -> Kwargs:
        """The arguments of layer `number` for the tokens that are left and the slots that it holds."""
        kind, slot, kept = self.layers.kinds[number], self.layers.slots[number], current.kept
        past = cache_state.read_at(current.cache, slot) if kind.attends else Past()
        mask, prefix = given.get("attention_mask"), past.prefix
        if kept.is_whole and (prefix is None or not (mask is not None or prefix.is_padded or prefix.is_shifted)):
            return given
        names = sorted(name for name, value in given.items() if value is not None)
        # layers of one length may hold different tokens
        key = (len(current.cuts), kind, past.physical, id(prefix), *((name, id(given[name])) for name in names))
        if key not in current.made:
            past_mask = current.inputs.masks(past)[0] if kind.attends else kept.mask[:, :0]
            changed = {} if kept.is_whole else cut_arguments(given, kept)
            changed["attention_mask"] = layer_mask(mask, kept.index, kept.mask, past_mask, kind)
            shift = None
            if self.rotary is not None and kind.attends:
                renumbered, shift = self._numbered(current, number, given, past)
                changed |= renumbered
            gap = None if kept.is_whole else _cache_gap(past, past_mask, kept, shift)
            current.made[key] = given, changed, gap
        _, changed, gap = current.made[key]
        if gap is not None:
            current.cache_gaps[slot] = gap
        return given | changed

    def _numbered(self, current: DecoderPass, number: int, given: Kwargs, past: Past) -> tuple[Kwargs, torch.Tensor]:
        """Positions of a layer's tokens numbered anew, and by how much those of later passes are lowered."""
        rotary, positions = self.rotary, current.inputs.positions(past)
        before = torch.zeros(len(positions), dtype=torch.int64, device=positions.device)
        before = before if past.prefix is None else past.prefix.shift.to(positions.device)
        if rotary is None or positions.ndim != 2:
            raise ValueError(f'positions="compact" wants one position a token, got {[*positions.shape]}')
        if current.kept.is_whole:
            return rotary.renumbered(number, given, positions), before
        rotary.check(number, given, positions + before[:, None])
        where, gone = lowered_positions(positions, current.kept, current.whole.mask, current.inputs.samples)
        return rotary.renumbered(number, given, where), before + gone


def _cache_gap(
    past: Past, past_mask: torch.Tensor, kept: KeptTokens, shift: torch.Tensor | None
) -> tuple[int, PrunedPrefix]:
    """What a layer's cache lacks behind a cut: how many columns, and which of its slots are real."""
    if shift is None:
        shift = torch.zeros(len(kept.mask), dtype=torch.int64, device=kept.mask.device)
    slots = torch.cat([past_mask, kept.mask], 1)
    removed = past.removed + kept.length - kept.mask.shape[1]
    return removed, PrunedPrefix.of(slots, shift, kept.n_last, differs_by_layer=True)
