"""The core of both forms: choose tokens image by image, then gather what stays of the sequence.

Nothing here knows about models, hooks or caches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from tokenpruner import positions
from tokenpruner.images import Image
from tokenpruner.layouts import Grid
from tokenpruner.merging import Blend, joined
from tokenpruner.method import Context, Method, Positions
from tokenpruner.report import KeptImage

# rows and columns told by a count of tokens
GridOf = Callable[[int], Grid | None]


@dataclass(frozen=True)
class Tokens:
    """New tokens of the decoder: `embeds` [B, L, D], `mask` bool [B, L], `position_ids` int64 [..., B, L]."""

    embeds: torch.Tensor
    mask: torch.Tensor
    position_ids: torch.Tensor


@dataclass(frozen=True)
class Choice:
    """What was chosen: `dropped` bool [B, L] and, image by image, the kept tokens; `blend` says what went into them."""

    dropped: torch.Tensor
    images: tuple[KeptImage, ...]
    blend: Blend | None = None

    @property
    def is_whole(self) -> bool:
        """True where every token stays."""
        return all(len(image.kept) == image.size for image in self.images)

    def blended(self, values: torch.Tensor) -> torch.Tensor:
        """`values` [B, L, D] of all tokens, those that others went into averaged with them."""
        return values if self.blend is None else self.blend(values)


def choose(embeds: torch.Tensor, mask: torch.Tensor, images: Sequence[Image], method: Method, grid: GridOf) -> Choice:
    """Let `method` pick among the visual tokens of each image of `embeds` [B, L, D]; `mask` [B, L] is bool."""
    dropped = torch.zeros(mask.shape, dtype=torch.bool, device=embeds.device)
    visual, newlines = dropped.clone(), dropped.clone()
    for image in images:
        visual[image.row, image.columns] = True
        newlines[image.row, image.newlines] = True
    is_text = mask & ~visual & ~newlines
    kept_images, blends, counts = [], [], _counts(images, method)
    # picks are indices: no gradient flows through them
    embeds = embeds.detach()
    for image, n in zip(images, counts, strict=True):
        text = embeds[image.row, is_text[image.row]] if "text" in method.needs else None
        context = _context(embeds[image.row, image.columns], image, text, grid)
        # scores in the precision that the method takes, whatever the model runs in
        with torch.autocast(embeds.device.type, enabled=False):
            picks = method.select(context, n)
        dropped[image.row, image.columns] = True
        dropped[image.row, image.columns[picks]] = False
        kept_images.append(_kept(context, image, picks))
        merge = method.merge(context, picks) if 0 < n < context.size else None
        if merge is not None:
            merge.check(type(method).__name__, picks, context.size)
            blends.append(Blend.of(merge, picks, image.row * mask.shape[1] + image.columns))
    choice, hidden = Choice(dropped, tuple(kept_images), joined(blends)), (visual & ~mask).any(1)
    if not choice.is_whole and hidden.any():
        raise ValueError(f"row {int(hidden.nonzero()[0])}: want attention_mask 1 on image tokens, got 0")
    return choice


def _context(visual: torch.Tensor, image: Image, text: torch.Tensor | None, grid: GridOf) -> Context:
    """What the method reads of one image or frame."""
    one, views = views_of(image, grid)
    return Context(visual, one, image.row, image.number, text, image.frame, views)


def views_of(image: Image, grid: GridOf) -> tuple[Grid | None, tuple[Grid, ...]]:
    """The image's one grid, or the several that its tokens fill."""
    told = grid(len(image.columns))
    views = image.views or ((told,) if told else ())
    return (views[0], ()) if len(views) == 1 else (None, views)


def _kept(context: Context, image: Image, picks: torch.Tensor) -> KeptImage:
    """What the report says of it."""
    kept, columns = tuple(picks.tolist()), image.places()
    place = (context.grid, context.frame, context.views)
    return KeptImage(context.row, context.image, context.size, kept, *place, columns)


def _counts(images: Sequence[Image], method: Method) -> list[int]:
    """How many tokens of each image stay: a budget is shared out within a row."""
    counts: list[int] = []
    for row, own in groupby(images, key=lambda image: image.row):
        counts += method.counts([len(image.columns) for image in own], row)
    return counts


def kept_index(mask: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
    """The columns [B, P] that stay of [B, L], each row's last ones real and in order, filled up on the left."""
    kept = mask & ~dropped
    length = int(kept.sum(1).max())
    # a stable sort of False before True: each row ends with its kept tokens, in order
    return kept.long().argsort(dim=1, stable=True)[:, kept.shape[1] - length :]


def gather(tokens: Tokens, dropped: torch.Tensor, policy: Positions, index: torch.Tensor | None = None) -> Tokens:
    """The tokens that are neither `dropped` [B, L] nor padding, rows filled up on the left to the longest one."""
    index = kept_index(tokens.mask, dropped) if index is None else index
    mask = (tokens.mask & ~dropped).gather(1, index)
    embeds = tokens.embeds.gather(1, index[..., None].expand(-1, -1, tokens.embeds.shape[-1]))
    position_ids = positions.cut(tokens.position_ids, index, dropped, policy)
    # padding holds what was dropped; a NaN there would reach the others through 0 * NaN
    return Tokens(embeds.masked_fill(~mask[..., None], 0), mask, position_ids.masked_fill(~mask, 0))
