"""Rows that hold several samples one behind the other, as trainers pack them: each sees itself alone.

Without a mask, positions that start again say where a sample begins; transformers makes the same of them:

    sample of column j = number of columns up to j whose position is not the one before plus one

Dropped tokens leave such gaps as well, so that the mask of what is left is made here: a token sees those of its sample
up to its own. Positions are lowered within their sample. What tells of samples in any other way (a mask of 1, 1, 2, 2,
`cu_seq_lens` of flash attention) would have to be cut by whoever reads it, and is refused.
"""

from __future__ import annotations

import torch

from prunekernels._finite import refuse_where
from tokenpruner.decoder.attention_masks import as_mask
from tokenpruner.models.adapter import config_number
from tokenpruner.models.attention import causal
from tokenpruner.models.transformers_api import Kwargs

# how the kernels of packed rows are told where samples begin
BOUNDARIES = ("cu_seq_lens_q", "cu_seq_lens_k", "cu_seq_lens", "cu_seqlens", "max_length_q", "max_length_k", "seq_idx")
WAY_OUT = "tell samples of a packed row by position_ids that start again, without a mask, with attention sdpa or eager"
# attention that takes a mask [B, H, L, L]
MASKED = ("sdpa", "eager")


def samples_of(position_ids: object, attention_mask: object, has_past: bool) -> torch.Tensor | None:
    """Which sample of its row each token is of, int64 [B, L] from 0; None where rows are not packed.

    `position_ids` [B, L], or [R, B, L] with those of the text first. One look at them, on a GPU a wait.
    """
    if has_past or attention_mask is not None or not isinstance(position_ids, torch.Tensor):
        return None
    rows = position_ids[0] if position_ids.ndim == 3 else position_ids
    # where positions have three parts and no fourth for the text, those in time stand still within an image
    starts = rows.diff(dim=-1) < 0 if len(position_ids) == 3 and position_ids.ndim == 3 else rows.diff(dim=-1) != 1
    if rows.ndim != 2 or not bool(starts.any()):
        return None
    return torch.nn.functional.pad(starts.long().cumsum(-1), (1, 0))


def counts_within(values: torch.Tensor, samples: torch.Tensor | None) -> torch.Tensor:
    """How many of `values` bool [B, L] are True up to each column, counted from where its sample begins."""
    counts = values.long().cumsum(-1)
    if samples is None:
        return counts
    columns = torch.arange(values.shape[1], device=values.device)
    begins = torch.nn.functional.pad(samples.diff(dim=-1) != 0, (1, 0), value=True)
    first = torch.where(begins, columns, 0).cummax(-1).values
    return counts - (counts - values.long()).gather(1, first)


def block_mask(samples: torch.Tensor, mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The mask [B, 1, P, P], numbers to add of `like`'s dtype, of tokens of `samples` [B, P], real where `mask`."""
    seen = (samples[:, :, None] == samples[:, None]) & causal(samples.shape[1], samples.device)
    return as_mask((seen & mask[:, None])[:, None], mask, like.new_zeros(()))


def check_packed(kwargs: Kwargs, attention_mask: object, position_ids: object) -> None:
    """Raise ValueError where samples of a row are told apart in a way that nobody would cut."""
    for name in BOUNDARIES:
        if kwargs.get(name) is not None:
            raise ValueError(f"the text backbone takes {name}: {WAY_OUT}")
    if not isinstance(attention_mask, torch.Tensor) or attention_mask.ndim != 2:
        return
    if attention_mask.dtype != torch.bool:
        refuse_where(
            (attention_mask != 0) & (attention_mask != 1),
            lambda place: f"row {place[0]}: want attention_mask of 0 and 1, got another number: {WAY_OUT}",
        )
    if isinstance(position_ids, torch.Tensor) and position_ids.ndim == 2 and position_ids.shape == attention_mask.shape:
        real = attention_mask.bool()
        starts = (position_ids.diff(dim=-1) < 0) & real[:, 1:] & real[:, :-1]
        refuse_where(starts, lambda place: f"row {place[0]}: positions start again beside an attention_mask: {WAY_OUT}")


def check_blocks(config: object, length: int) -> None:
    """Raise ValueError unless one mask of blocks serves every layer of a backbone, for packed rows of `length`."""
    attention = str(getattr(config, "_attn_implementation", "eager"))
    layer_types, window = getattr(config, "layer_types", None) or (), config_number(config, "sliding_window")
    if attention not in MASKED:
        raise ValueError(f"a packed row wants attention sdpa or eager, got {attention}: {WAY_OUT}")
    plain = {"full_attention", "sliding_attention"}
    if not {*layer_types} <= plain:
        kinds = ", ".join(sorted({*layer_types} - plain))
        raise ValueError(f"a packed row wants layers of attention, got {kinds}: give each sample a row of its own")
    if window is not None and window < length:
        raise ValueError(
            f"a packed row of {length} tokens is longer than the sliding window of {window}: give each sample a row "
            "of its own"
        )
