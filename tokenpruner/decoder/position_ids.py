"""Position ids of a shortened sequence.

"keep": every token stays at its position, so that gaps stand where tokens were dropped, and what follows goes
on at the unpruned length. "compact": a token's position is lowered by the number of tokens dropped before it,
and whatever follows by the number dropped in its row.
"""

from __future__ import annotations

import torch

from tokenpruner.base.positions import Positions
from tokenpruner.decoder.packed_rows import counts_within


def full_position_ids(
    position_ids: torch.Tensor | None, shape: tuple[int, int], past: int, device: torch.device
) -> torch.Tensor:
    """Positions of [B, L] new tokens behind `past` others: those given, or consecutive ones; int64 [..., B, L]."""
    if position_ids is None:
        position_ids = torch.arange(past, past + shape[1], device=device)[None]
    if position_ids.shape[-1] != shape[1] or position_ids.shape[-2] not in (1, shape[0]):
        raise ValueError(f"want position_ids {[*shape]}, got {[*position_ids.shape]}")
    return position_ids.expand(*position_ids.shape[:-2], *shape)


def cut_position_ids(
    position_ids: torch.Tensor,
    index: torch.Tensor,
    dropped: torch.Tensor,
    policy: Positions,
    samples: torch.Tensor | None = None,
) -> torch.Tensor:
    """Positions of the tokens `index` [B, P] out of `position_ids` [..., B, L]; `dropped` [B, L] is bool.

    `samples` int64 [B, L] are those of packed rows, each of which is numbered by itself.
    """
    if policy == "compact":
        if position_ids.ndim != 2:
            got = f'got {[*position_ids.shape]}: take positions="keep"'
            raise ValueError(f'positions="compact" wants one position a token, {got}')
        position_ids = position_ids - counts_within(dropped, samples)
    return position_ids.gather(-1, index.expand(*position_ids.shape[:-1], -1))
