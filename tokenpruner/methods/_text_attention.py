"""How much the text that follows an image looks at each of its tokens, in one layer of the decoder."""

from __future__ import annotations

import torch

from tokenpruner.models.attention import MAX_WEIGHTS, Attention


def behind(columns: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Those of the `text` columns that stand behind an image at `columns` [N] and so can see it; int64 [T]."""
    return text[text > columns.max()]


def attention_from_text(attention: Attention, columns: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Attention of the text behind the image to its tokens, mean over heads and text; [N], 0 where there is none."""
    rows = behind(columns, text)
    if not len(rows):
        dtype = torch.promote_types(attention.q.dtype, torch.float32)
        return torch.zeros(len(columns), dtype=dtype, device=columns.device)
    return attention_from(attention, columns, rows)


def attention_from(attention: Attention, columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Attention of the query columns `rows` int64 [R] to an image at `columns` [N], mean over heads and rows; [N]."""
    step = max(1, MAX_WEIGHTS // (len(attention.q) * attention.k.shape[1]))
    if len(rows) <= step:
        return attention.weights(rows)[..., columns].mean((0, 1))
    sums = [attention.weights(block)[..., columns].sum((0, 1)) for block in rows.split(step)]
    return torch.stack(sums).sum(0) / (len(rows) * len(attention.q))
