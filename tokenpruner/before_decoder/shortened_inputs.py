"""What the text backbone gets in place of all tokens: embeddings, mask, positions and what goes along, all cut alike.

A pass that follows a pruned past gets the mask and positions that fit what its cache holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from tokenpruner.base.positions import Positions
from tokenpruner.before_decoder.calibrated_masks import (
    behind_calibrated,
    calibrated,
    calibrated_mask,
    check_calibrated,
)
from tokenpruner.before_decoder.selection import Selection
from tokenpruner.decoder.attention_masks import cut_made_masks, with_removed
from tokenpruner.decoder.backbone_inputs import DEEPSTACK, INPUT_NAMES, PER_TOKEN, VISUAL_MASK, BackboneInputs
from tokenpruner.decoder.cache_layers import PrunedPrefix
from tokenpruner.decoder.cache_state import Past
from tokenpruner.decoder.calibration import rotary_frequencies
from tokenpruner.decoder.kept_tokens import kept_index
from tokenpruner.decoder.packed_rows import block_mask, counts_within
from tokenpruner.decoder.position_ids import cut_position_ids
from tokenpruner.models.adapter import config_number
from tokenpruner.models.transformers_api import Kwargs


@dataclass(frozen=True)
class Tokens:
    """New tokens of the decoder: `embeds` [B, L, D], `mask` bool [B, L], `position_ids` int64 [..., B, L].

    `samples` int64 [B, L] are those of packed rows.
    """

    embeds: torch.Tensor
    mask: torch.Tensor
    position_ids: torch.Tensor
    samples: torch.Tensor | None = None


def gather(tokens: Tokens, dropped: torch.Tensor, policy: Positions, index: torch.Tensor | None = None) -> Tokens:
    """The tokens that are neither `dropped` [B, L] nor padding, rows filled up on the left to the longest one."""
    index = kept_index(tokens.mask, dropped) if index is None else index
    mask = (tokens.mask & ~dropped).gather(1, index)
    embeds = tokens.embeds.gather(1, index[..., None].expand(-1, -1, tokens.embeds.shape[-1]))
    position_ids = cut_position_ids(tokens.position_ids, index, dropped, policy, tokens.samples)
    # padding holds what was dropped; a NaN there would reach the others through 0 * NaN
    samples = None if tokens.samples is None else tokens.samples.gather(1, index)
    return Tokens(embeds.masked_fill(~mask[..., None], 0), mask, position_ids.masked_fill(~mask, 0), samples)


@dataclass(frozen=True)
class Backbone:
    """What of a text backbone decides masks: its sliding `window`, and the `frequencies` that calibrate attention."""

    window: int | None = None
    frequencies: torch.Tensor | None = None

    @classmethod
    def of(cls, backbone: nn.Module, policy: Positions) -> Backbone:
        """Read off a backbone; raises ValueError where it cannot have positions of this `policy`."""
        frequencies = rotary_frequencies(backbone) if policy == "calibrated" else None
        return cls(config_number(getattr(backbone, "config"), "sliding_window"), frequencies)  # noqa: B009


def shortened(
    inputs: BackboneInputs, past: Past, selected: Selection, policy: Positions, backbone: Backbone
) -> tuple[Kwargs, torch.Tensor, PrunedPrefix]:
    """What the backbone gets without the dropped tokens; which columns stay, [B, P]; and the cache's new prefix."""
    check_calibrated(inputs, past, policy)
    past_mask, mask = inputs.masks(past)
    index = kept_index(mask, selected.dropped)
    tokens = Tokens(selected.with_merged(inputs.embeds), mask, inputs.positions(past), inputs.samples)
    tokens = gather(tokens, selected.dropped, policy, index)
    shift = torch.zeros(len(mask), dtype=torch.int64, device=mask.device)
    if past.prefix is not None:
        shift = past.prefix.shift.to(mask.device)
    if policy == "compact":
        shift = shift + counts_within(selected.dropped, inputs.samples)[:, -1]
    # always an explicit mask: without one, gaps in the positions pass for packed sequences
    whole: object = with_removed(past_mask, tokens.mask, past.removed)
    if tokens.samples is not None:
        whole = block_mask(tokens.samples, tokens.mask, inputs.embeds)
    if inputs.made_mask is not None:
        made = cut_made_masks(inputs.made_mask, index, tokens.mask, past_mask, backbone.window)
        whole = whole if made is None else made
    prefix = PrunedPrefix.of(torch.cat([past_mask, tokens.mask], 1), shift, _n_last(mask, selected.dropped))
    if backbone.frequencies is not None:
        calibration = calibrated(inputs, past, selected, index, backbone.frequencies)
        prefix = replace(prefix, calibration=calibration)
        whole = calibrated_mask(calibration, past_mask, tokens.mask, tokens.embeds)
    changed: Kwargs = dict(zip(INPUT_NAMES, (tokens.embeds, whole, tokens.position_ids), strict=True))
    return changed, index, prefix


def _n_last(mask: torch.Tensor, dropped: torch.Tensor) -> int:
    """How many of the last columns stay as they are in every row: nothing dropped, no padding behind a token."""
    gone = (dropped | ~mask) & (mask.cumsum(1) > 0)
    columns = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return mask.shape[1] - int((gone * columns).max())


def behind_pruned_cache(inputs: BackboneInputs, past: Past) -> tuple[Kwargs, PrunedPrefix | None]:
    """Mask and positions for tokens that follow a pruned past, none where the caller's are right already.

    Then a prefix that the cache is to have in place of its own.
    """
    changed: Kwargs = {}
    if past.prefix is None:
        return changed, None
    if past.prefix.calibration is not None:
        return behind_calibrated(inputs, past, past.prefix)
    if past.prefix.is_padded or inputs.attention_mask is not None or inputs.made_mask is not None:
        changed["attention_mask"] = with_removed(*inputs.masks(past), past.removed)
    if past.prefix.is_shifted:
        changed["position_ids"] = inputs.positions(past)
    return changed, None


def cut_per_token(kwargs: Kwargs, selected: Selection, index: torch.Tensor, mask: torch.Tensor) -> Kwargs:
    """What goes along with the kept tokens `index` [B, P], of which `mask` [B, P] are real."""
    changed: Kwargs = {}
    shape = selected.dropped.shape
    for name in PER_TOKEN:
        value = kwargs.get(name)
        if isinstance(value, torch.Tensor) and value.shape[:2] == shape:
            where = index.view(*index.shape, *[1] * (value.ndim - 2)).expand(*index.shape, *value.shape[2:])
            blank = ~mask.view(*mask.shape, *[1] * (value.ndim - 2))
            changed[name] = value.gather(1, where).masked_fill(blank, 0)
    visual = kwargs.get(VISUAL_MASK)
    for name in DEEPSTACK:
        levels = kwargs.get(name)
        if isinstance(levels, list | tuple) and isinstance(visual, torch.Tensor):
            changed[name] = [_deepstack_values(features, visual.bool(), selected) for features in levels]
    return changed


def _deepstack_values(features: torch.Tensor, visual: torch.Tensor, selected: Selection) -> torch.Tensor:
    """What is left of a `features` [visual tokens, D], those where `visual` [B, L]; merged as the tokens are."""
    visual, dropped = visual.to(features.device), selected.dropped.to(features.device)
    if selected.merged is None:
        return features[~dropped[visual]]
    spread = features.new_zeros(*visual.shape, features.shape[-1])
    spread[visual] = features
    return selected.with_merged(spread)[visual & ~dropped]
