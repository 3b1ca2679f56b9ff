"""One cut inside the decoder: the visual tokens that are still there, image by image, and which of them go on.

Each image is judged by its own row: the attention that a method sees is that row's, without padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from tokenpruner.attention import Attention
from tokenpruner.cutting import Remaining
from tokenpruner.images import Image
from tokenpruner.layer_masks import causal
from tokenpruner.layer_method import LayerContext, LayerMethod, Stage, check_picks
from tokenpruner.probe import Reading
from tokenpruner.report import KeptImage
from tokenpruner.thin import GridOf, views_of


@dataclass(frozen=True)
class Live:
    """The tokens of an image or frame that are still there: `kept` int64 [N] of them, at `columns` [N] by now.

    `newlines` are where the tokens stand by now that belong to the image and are no patches.
    """

    image: Image
    kept: torch.Tensor
    columns: torch.Tensor
    newlines: torch.Tensor

    @classmethod
    def of(cls, image: Image) -> Live:
        """All tokens of an image that enters."""
        kept = torch.arange(len(image.columns), device=image.columns.device)
        return cls(image, kept, image.columns, image.newlines)

    @property
    def row(self) -> int:
        """The batch row."""
        return self.image.row

    def moved(self, columns: torch.Tensor) -> Live:
        """The same tokens after a cut that put the columns there were at `columns` [B, P]."""
        own = columns[self.row]
        return replace(self, columns=own[self.columns], newlines=own[self.newlines])

    def told(self, grid: GridOf, layer: int) -> KeptImage:
        """What the report says of it."""
        image, (one, views) = self.image, views_of(self.image, grid)
        kept, columns = tuple(self.kept.tolist()), image.places()
        return KeptImage(image.row, image.number, len(columns), kept, one, image.frame, views, columns, layer)


@dataclass(frozen=True)
class Scene:
    """What a cut is decided on: `hidden` [B, P, D] of the tokens of `layout`, and the attention read for it, if one is.

    That is a reading and the real ones, bool [B, S], of the slots behind which it was made. Columns of the pass
    from `limit` int64 [B, 1] on come after the prompt, and have no say.
    """

    hidden: torch.Tensor
    layout: Remaining
    limit: torch.Tensor
    seen: tuple[Reading, torch.Tensor] | None = None


def choose(live: list[Live], scene: Scene, stage: Stage, method: LayerMethod, grid: GridOf) -> list[Live]:
    """Let `method` pick among the tokens of each image."""
    found: list[Live] = []
    is_text = scene.layout.mask & (scene.layout.index < scene.limit)
    real = is_text.clone()
    for image in live:
        is_text[image.row, image.columns] = False
        is_text[image.row, image.newlines] = False
    attention: dict[int, Attention | None] = {}
    for image in live:
        row, own = image.row, image.image
        if row not in attention:
            attention[row] = None if scene.seen is None else of_row(scene.seen[0], row, real[row], scene.seen[1][row])
        place, (one, views) = real[row].cumsum(0) - 1, views_of(own, grid)
        context = LayerContext(
            hidden=scene.hidden[row, image.columns],
            kept=image.kept,
            size=len(own.columns),
            stage=stage,
            columns=place[image.columns],
            text=place[is_text[row]],
            attention=attention[row],
            grid=one,
            row=row,
            image=own.number,
            frame=own.frame,
            views=views,
        )
        # scores in the precision that the method takes, whatever the model runs in
        with torch.autocast(context.hidden.device.type, enabled=False):
            picks = method.select(context)
        check_picks(picks, context, method)
        found.append(replace(image, kept=image.kept[picks], columns=image.columns[picks]))
    return found


def of_row(reading: Reading, row: int, real: torch.Tensor, past_real: torch.Tensor) -> Attention:
    """The attention among the `real` bool [P] tokens of a row, behind the real slots `past_real` bool [S]."""
    n_new = len(real)
    # a sliding layer holds the last of its slots
    n_past = reading.k.shape[2] - n_new
    own = real.nonzero().flatten()
    past = past_real[len(past_real) - n_past :].nonzero().flatten()
    keys = torch.cat([past, n_past + own])
    allowed = _allowed(reading, row, n_past, n_new)
    if allowed is not None:
        allowed = allowed[own][:, keys]
        plain = causal(len(own), own.device)
        if bool(allowed[:, : len(past)].all()) and torch.equal(allowed[:, len(past) :], plain):
            allowed = None
    return Attention(reading.q[row, :, own], reading.k[row, :, keys], reading.scaling, allowed, reading.softcap)


def _allowed(reading: Reading, row: int, n_past: int, n_new: int) -> torch.Tensor | None:
    """Who sees whom, bool [P, S + P]; None where that is causality alone."""
    mask = reading.mask
    if isinstance(mask, torch.Tensor) and mask.ndim == 4:
        own = mask[min(row, len(mask) - 1), 0]
        return own if own.dtype == torch.bool else own == 0
    if reading.window is None:
        return None
    device = reading.q.device
    distance = torch.arange(n_past, n_past + n_new, device=device)[:, None] - torch.arange(
        n_past + n_new, device=device
    )
    return (distance >= 0) & (distance < reading.window)
