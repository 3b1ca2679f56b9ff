"""The masks of calibrated attention: what the backbone gets in place of its own, and what its cache remembers of it."""

from __future__ import annotations

from dataclasses import replace

import torch

from tokenpruner.base.positions import Positions
from tokenpruner.before_decoder.selection import Selection
from tokenpruner.decoder.attention_masks import as_mask
from tokenpruner.decoder.backbone_inputs import BackboneInputs
from tokenpruner.decoder.cache_layers import PrunedPrefix
from tokenpruner.decoder.cache_state import Past
from tokenpruner.decoder.calibration import Calibration
from tokenpruner.models.attention import causal
from tokenpruner.models.transformers_api import Kwargs

OTHER_POLICY = "this cache was pruned with {} positions: go on with those, or begin a new cache for these images"


def check_calibrated(inputs: BackboneInputs, past: Past, policy: Positions) -> None:
    """Raise ValueError where a cache was pruned by another policy, or the masks could not take the calibration."""
    if past.prefix is not None and (past.prefix.calibration is not None) != (policy == "calibrated"):
        raise ValueError(OTHER_POLICY.format("other" if policy == "calibrated" else "calibrated"))
    if policy == "calibrated" and (inputs.samples is not None or inputs.made_mask is not None):
        got = "packed rows" if inputs.made_mask is None else "a mask that the model makes ahead of its decoder"
        raise ValueError(f'positions="calibrated" wants one sample a row and causal attention, got {got}: take "keep"')


def calibrated(
    inputs: BackboneInputs, past: Past, selected: Selection, index: torch.Tensor, frequencies: torch.Tensor
) -> Calibration:
    """What a cache's slots and behind them the tokens `index` [B, P] that are left say of themselves."""
    past_mask, mask = inputs.masks(past)
    positions, is_cut = inputs.positions(past), selected.dropped.any(1)
    known = None if past.prefix is None else past.prefix.calibration
    if known is None:
        # nothing was dropped there: the slots that are real count up to the first new token
        first = positions.gather(1, mask.long().argmax(1, keepdim=True))
        before = first - past_mask.long().flip(1).cumsum(1).flip(1)
        sizes = torch.zeros(before.shape, device=before.device)
        known = Calibration(frequencies.to(before.device), before, sizes, torch.zeros_like(is_cut))
    known = replace(known, is_cut=known.is_cut | is_cut)
    return known.followed(positions.gather(1, index), log_sizes(selected, index))


def behind_calibrated(inputs: BackboneInputs, past: Past, prefix: PrunedPrefix) -> tuple[Kwargs, PrunedPrefix]:
    """What tokens get that follow a calibrated `prefix`, and the prefix with them behind it."""
    past_mask, mask = inputs.masks(past)
    if prefix.calibration is None or prefix.mask.shape[1] != past_mask.shape[1]:
        raise ValueError("want every pass on a calibrated cache inside `with prune(...)`")
    calibration = prefix.calibration.followed(inputs.positions(past))
    n_croppable = prefix.n_croppable + mask.shape[1]
    longer = PrunedPrefix.of(torch.cat([past_mask, mask], 1), prefix.shift, n_croppable)
    whole = calibrated_mask(calibration, past_mask, mask, inputs.embeds)
    return {"attention_mask": whole}, replace(longer, calibration=calibration)


def log_sizes(selected: Selection, index: torch.Tensor) -> torch.Tensor:
    """Of how many tokens each of those at `index` [B, P] is the mean; its logarithm, float32 [B, P]."""
    sizes = torch.ones(selected.dropped.numel(), device=selected.dropped.device)
    if selected.merged is not None:
        into, counts = selected.merged.into.unique(return_counts=True)
        sizes[into.to(sizes.device)] = counts.to(sizes)
    return sizes.view(selected.dropped.shape).log().gather(1, index)


def calibrated_mask(
    calibration: Calibration, past_mask: torch.Tensor, mask: torch.Tensor, like: torch.Tensor
) -> torch.Tensor:
    """The mask [B, 1, P, S + P] of new tokens `mask` bool [B, P] behind slots `past_mask`, of the dtype of `like`."""
    n_new = mask.shape[1]
    seen = causal(n_new, mask.device) & mask[:, None, None]
    past = past_mask[:, None, None].expand(-1, 1, n_new, -1)
    made = as_mask(torch.cat([past, seen], -1), mask, like.new_zeros(()))
    bias = calibration.bias(n_new).to(like.dtype)
    return torch.where(made == 0, bias, made)
