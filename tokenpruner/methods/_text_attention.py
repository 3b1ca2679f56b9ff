"""How much the text that follows an image looks at each of its tokens, in one layer of the decoder."""

from __future__ import annotations

import torch

from tokenpruner.models.attention import Attention


def behind(columns: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Those of the `text` columns that stand behind an image at `columns` [N] and so can see it; int64 [T]."""
    return text[text > columns.max()]


def attention_from_text(attention: Attention, columns: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Attention of the text behind the image to its tokens, mean over heads and text; [N], 0 where there is none."""
    rows = behind(columns, text)
    if not len(rows):
        dtype = torch.promote_types(attention.q.dtype, torch.float32)
        return torch.zeros(len(columns), dtype=dtype, device=columns.device)
    return attention.weights(rows)[..., columns].mean((0, 1))
