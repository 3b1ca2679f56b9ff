"""Attention masks of a shortened sequence.

What comes from outside counts unpruned tokens: its last columns are the new tokens, the ones before them the
past. What goes to the decoder has the same length, with `removed` empty columns first, then one for each slot
that the cache holds; the mask sizes of `cache_layers.PrunedLayer` point behind the empty ones.

Models whose image tokens see each other both ways make masks ahead of their backbone, and hand it one [B, H, L, K] or
one for each kind of layer. Of the full mask the rows and columns of the kept tokens are taken, which keeps the blocks
of an image together. A sliding window counts kept tokens, as it does where the backbone makes the mask itself and as
the cache of such a layer does; what lies outside of it is seen where the model's own mask shows it, as some models do
with the tokens of one image.
"""

from __future__ import annotations

import torch

from tokenpruner.decoder.cache_state import Past
from tokenpruner.models.decoder_layers import FULL, SLIDING


def past_and_new(
    attention_mask: torch.Tensor | None, past: Past, shape: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of the past's slots and which of the [B, L] new tokens are real: bool [B, physical] and [B, L]."""
    n_rows, length = shape
    logical = past.logical
    if attention_mask is None:
        attention_mask = torch.ones(n_rows, logical + length, dtype=torch.bool, device=device)
    if not isinstance(attention_mask, torch.Tensor) or attention_mask.shape != (n_rows, logical + length):
        got = [*attention_mask.shape] if isinstance(attention_mask, torch.Tensor) else type(attention_mask).__name__
        raise ValueError(f"want attention_mask {[n_rows, logical + length]}, counted without pruning, got {got}")
    real = attention_mask.to(device=device, dtype=torch.bool)
    if past.prefix is None:
        return real[:, :logical], real[:, logical:]
    slots = past.prefix.mask.to(device)
    if len(slots) != n_rows:
        raise ValueError(f"want {len(slots)} rows, as many as the cache has, got {n_rows}")
    # columns behind the pruned prefix stand for themselves
    between = real[:, slots.shape[1] + past.removed : logical]
    return torch.cat([slots, between], 1), real[:, logical:]


def with_removed(past_mask: torch.Tensor, mask: torch.Tensor, removed: int) -> torch.Tensor:
    """The decoder's mask for `past_mask` [B, physical] and new tokens `mask` [B, P]: int64 [B, removed + ...]."""
    empty = past_mask.new_zeros(len(mask), removed)
    return torch.cat([empty, past_mask, mask], 1).long()


def is_made_ahead(mask: object) -> bool:
    """True for a mask of four dimensions and for one mask a kind of layer."""
    return isinstance(mask, dict) or (isinstance(mask, torch.Tensor) and mask.ndim == 4)


def cut_made_masks(
    made: object, index: torch.Tensor, mask: torch.Tensor, past_mask: torch.Tensor, window: int | None
) -> object:
    """`made` for the tokens `index` [B, P], of which `mask` [B, P] are real, behind slots `past_mask` [B, S].

    None where the backbone can make the masks from [B, S + P] itself; raises ValueError for an unknown kind.
    """
    found = made if isinstance(made, dict) else {FULL: made}
    entries = {name: entry for name, entry in found.items() if isinstance(entry, torch.Tensor) and entry.ndim == 4}
    if len(entries) < len(found):
        return None
    if FULL not in entries or not entries.keys() <= {FULL, SLIDING}:
        raise ValueError(f"want masks of {FULL} and {SLIDING} layers, got {sorted(entries)}: not supported")
    new = allowed_pairs(entries[FULL], index, mask)
    past = past_mask[:, None, None, :].expand(-1, new.shape[1], new.shape[2], -1)
    new_masks = {FULL: torch.cat([past, new], -1)}
    if SLIDING in entries:
        if window is None:
            raise ValueError("want sliding_window in the config of a text backbone with sliding layers, got None")
        n_past, n_new = past.shape[-1], new.shape[-1]
        slots = torch.arange(n_past + n_new, device=new.device)
        near = slots[n_past:, None] - slots[None] < window
        # such a layer's cache holds one slot less than its window
        first = max(n_past - window + 1, 0)
        # further away than a window only what the model itself lets through: in some models a block of an image is
        new = new & (near[:, n_past:] | allowed_pairs(entries[SLIDING], index, mask))
        new_masks[SLIDING] = torch.cat([(past & near[:, :n_past])[..., first:], new], -1)
    like = entries[FULL]
    masks = {name: as_mask(new_masks[name], mask, like) for name in entries}
    return masks if isinstance(made, dict) else masks[FULL]


def allowed_pairs(full: torch.Tensor, index: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Which of the new tokens see which, bool [B, H, P, P]."""
    n_tokens, n_rows = full.shape[2], index.shape[0]
    allowed = full if full.dtype == torch.bool else full == 0
    allowed = allowed[..., -n_tokens:].expand(n_rows, -1, -1, -1)
    rows = index[:, None, :, None].expand(-1, allowed.shape[1], -1, n_tokens)
    columns = index[:, None, None, :].expand(-1, allowed.shape[1], index.shape[1], -1)
    return allowed.gather(2, rows).gather(3, columns) & mask[:, None, None, :]


def as_mask(allowed: torch.Tensor, mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`allowed` as bool or as numbers to add, as `like` is."""
    n_new = mask.shape[1]
    # padding looks at itself: a row that sees nothing may come out as NaN
    itself = torch.eye(n_new, dtype=torch.bool, device=mask.device) & ~mask[:, None, :, None]
    allowed = torch.cat([allowed[..., :-n_new], allowed[..., -n_new:] | itself], -1)
    if like.dtype == torch.bool:
        return allowed
    return torch.zeros(allowed.shape, dtype=like.dtype, device=like.device).masked_fill(
        ~allowed, torch.finfo(like.dtype).min
    )
