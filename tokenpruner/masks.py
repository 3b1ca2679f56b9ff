"""Attention masks of a shortened sequence.

What comes from outside counts unpruned tokens: its last columns are the new tokens, the ones before them the
past. What goes to the decoder has the same length, with `removed` empty columns first, then one for each slot
that the cache holds; the mask sizes of `cache.PrunedLayer` point behind the empty ones.
"""

from __future__ import annotations

import torch

from tokenpruner.cache import Past


def split(
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


def join(past_mask: torch.Tensor, mask: torch.Tensor, removed: int) -> torch.Tensor:
    """The decoder's mask for `past_mask` [B, physical] and new tokens `mask` [B, P]: int64 [B, removed + ...]."""
    empty = past_mask.new_zeros(len(mask), removed)
    return torch.cat([empty, past_mask, mask], 1).long()
