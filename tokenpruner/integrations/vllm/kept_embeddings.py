"""One encoded image with fewer tokens, chosen as `prune` chooses them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tokenpruner.base.before_decoder import Method
from tokenpruner.before_decoder.selection import Sequences, select_tokens
from tokenpruner.models import image_tokens
from tokenpruner.models.image_layouts import Grid, Layout, square


@dataclass(frozen=True)
class Kept:
    """Of an image the places `index` int64 [n] of its tokens that stay, ascending, and their `values` [n, W]."""

    index: torch.Tensor
    values: torch.Tensor


def kept_embeddings(values: torch.Tensor, text: torch.Tensor, layout: Layout, method: Method) -> Kept:
    """Which of an image's tokens stay, and what others have gone into them.

    `values` [N, W] are what enters the decoder and, behind the width D of `text` [T, D], what later layers add
    (DeepStack), which is cut and merged alike. `text` are the embeddings of the rest of the prompt.
    """
    n_text, width = text.shape
    embeds = torch.cat([text.to(values), values[:, :width]])[None]
    is_visual = torch.zeros(embeds.shape[:2], dtype=torch.bool, device=values.device)
    is_visual[:, n_text:] = True
    rows = Sequences(embeds, torch.ones_like(is_visual))
    selected = select_tokens(rows, image_tokens.find(is_visual, [layout]), method, _square)
    index = (~selected.dropped[0, n_text:]).nonzero()[:, 0]
    whole = torch.cat([values.new_zeros(n_text, values.shape[1]), values])[None]
    return Kept(index, selected.with_merged(whole)[0, n_text:][index])


def evenly_spaced(values: torch.Tensor, n: int) -> Kept:
    """`n` of the N tokens at equal distances."""
    index = torch.arange(n, device=values.device) * len(values) // n
    return Kept(index, values[index])


def _square(size: int) -> Grid | None:
    return next(iter(square(size)), None)
