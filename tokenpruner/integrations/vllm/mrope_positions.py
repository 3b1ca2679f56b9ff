"""Positions of three parts, time, height and width, of prompts whose images are shortened: each token stays at its own.

Which tokens of an image stay is known behind the encoder alone, and positions are wanted before. So the places of an
image's tokens are marked at first, and put right when the embeddings come: these carry, in columns behind their values,
how far each lies from the first token of its image. A distance is written in two digits to the base of 256, which every
floating-point type holds exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from tokenpruner.models.image_layouts import Layout

BASE = 256
# two digits for each of the three parts
N_COLUMNS = 6
# what an image that is whole carries: its positions are known
NO_OFFSET = -1


def offsets_of(layout: Layout) -> torch.Tensor:
    """How far each token of an image lies from its first in time, height and width; int64 [N, 3]."""
    if len(layout.views) != 1:
        raise ValueError(f"want one grid of an image for its positions, got {layout}")
    sides = (layout.n_frames, *layout.views[0])
    return torch.stack(torch.meshgrid(*map(torch.arange, sides), indexing="ij"), -1).flatten(0, 2)


def with_offsets(values: torch.Tensor, offsets: torch.Tensor | None) -> torch.Tensor:
    """`values` [n, W] with `offsets` [n, 3] in six more columns; None is that of a whole image."""
    if offsets is None:
        columns = values.new_full((len(values), N_COLUMNS), NO_OFFSET)
    else:
        digits = torch.stack([offsets // BASE, offsets % BASE], -1)
        columns = digits.flatten(1).to(values)
    return torch.cat([values, columns], 1)


def without_offsets(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`values` without those columns, and the offsets int64 [n, 3], below zero of a whole image."""
    digits = values[:, -N_COLUMNS:].long().unflatten(1, (-1, 2))
    return values[:, :-N_COLUMNS], digits[..., 0] * BASE + digits[..., 1]


class ShortenedImage(NamedTuple):
    """An image in a prompt: the index of its first token, how many tokens it has left, and how many it had."""

    first: int
    n_kept: int
    size: int


def with_whole_images(tokens: Sequence[int], images: Sequence[ShortenedImage]) -> list[int]:
    """The prompt `tokens` with every placeholder of the `images`, which are in order."""
    whole: list[int] = []
    done = 0
    for image in images:
        whole += tokens[done : image.first]
        whole += [tokens[image.first]] * image.size
        done = image.first + image.n_kept
    return [*whole, *tokens[done:]]


def marked_positions(whole: torch.Tensor, images: Sequence[ShortenedImage]) -> torch.Tensor:
    """Positions [3, L] of a shortened prompt out of those of the `whole` one.

    Tokens of the `images` are marked: -1 minus the position of the first token of their image.
    """
    parts, done, more = [], 0, 0
    for image in images:
        first = image.first + more
        parts.append(whole[:, done:first])
        parts.append((-1 - whole[:, first : first + 1]).expand(-1, image.n_kept))
        done, more = first + image.size, more + image.size - image.n_kept
    return torch.cat([*parts, whole[:, done:]], 1)


def spread(offsets: torch.Tensor, is_visual: torch.Tensor) -> torch.Tensor:
    """The `offsets` int64 [n, 3] of a step's visual tokens, which are where `is_visual` bool [L]; int64 [3, L]."""
    columns = is_visual.nonzero()[:, 0].to(offsets.device)
    return offsets.new_zeros(len(is_visual), 3).index_copy(0, columns, offsets).T


def put_right(positions: torch.Tensor, offsets: torch.Tensor) -> None:
    """Change `positions` [3, P] in place: those of the first L tokens that are marked, by their `offsets` [3, L]."""
    own = positions[:, : offsets.shape[1]]
    own.copy_(torch.where(own < 0, -1 - own + offsets, own))
