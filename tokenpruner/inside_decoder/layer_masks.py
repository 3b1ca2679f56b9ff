"""The attention mask of one decoder layer, for the tokens and the slots that this layer has.

A mask of four dimensions is cut: rows and columns of the tokens that are left are taken from it, the columns of
the past are made anew from the slots that the layer's own cache holds. Where the model relies on causality
alone, or hands padding to its attention (flash attention), the layer gets the same form. A sliding window counts
the tokens that are left, as the cache of such a layer does; what a block sees beyond its window it sees still.
"""

from __future__ import annotations

import torch

from tokenpruner.decoder.attention_masks import allowed_pairs, as_mask
from tokenpruner.models.attention import causal
from tokenpruner.models.decoder_layers import MaskKind


def layer_mask(
    given: object, index: torch.Tensor, mask: torch.Tensor, past_mask: torch.Tensor, kind: MaskKind
) -> torch.Tensor | None:
    """The mask in place of `given` for new tokens `index`, `mask` [B, P] behind the slots `past_mask` [B, S].

    Of a sliding layer's S slots the cache holds the last ones. Raises ValueError for masks of other kinds.
    """
    if given is not None and not isinstance(given, torch.Tensor):
        raise ValueError(f'want attention "sdpa", "eager" or flash attention, got a {type(given).__name__} as mask')
    if not kind.attends:
        return None if bool(mask.all()) else mask.long()
    if kind.window is not None:
        past_mask = past_mask[:, max(past_mask.shape[1] - kind.window + 1, 0) :]
    if given is not None and given.ndim == 4:
        seen = allowed_pairs(given, index, mask)
        seen = seen if kind.window is None else _in_window(seen, mask, kind.window)
        return as_mask(_behind(seen, past_mask, kind.window), mask, given)
    is_full = bool(mask.all()) and bool(past_mask.all())
    if is_full and (kind.is_flash or not past_mask.shape[1] or mask.shape[1] == 1):
        return None
    if kind.is_flash:
        return torch.cat([past_mask, mask], 1).long()
    seen = causal(mask.shape[1], mask.device) & mask[:, None, None]
    seen = seen if kind.window is None else _in_window(seen, mask, kind.window)
    return as_mask(_behind(seen, past_mask, kind.window), mask, mask)


def _in_window(seen: torch.Tensor, mask: torch.Tensor, window: int) -> torch.Tensor:
    """`seen` [B, H, P, P] with the window counted anew.

    A later token is seen as before, and so is an earlier one that sees back, at any distance: image blocks are
    outside of the window in some models, and in others only what lies ahead is.
    """
    numbers = torch.arange(mask.shape[1], device=mask.device)
    distance = numbers[:, None] - numbers
    near = (distance >= 0) & (distance < window) & mask[:, None, None]
    return near | seen.triu(1) | (seen & seen.mT)


def _behind(seen: torch.Tensor, past_mask: torch.Tensor, window: int | None) -> torch.Tensor:
    """`seen` [B, H, P, P] with the columns of the slots [B, S] in front."""
    n_past, n_new = past_mask.shape[1], seen.shape[2]
    past = past_mask[:, None, None].expand(-1, seen.shape[1], n_new, -1)
    if window is not None:
        slots = torch.arange(n_past + n_new, device=seen.device)
        past = past & (slots[n_past:, None] - slots[:n_past] < window)
    return torch.cat([past, seen], -1)
