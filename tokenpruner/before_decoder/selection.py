"""Which tokens stay, chosen image by image, and which kept tokens stand for others. No models, hooks or caches here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby

import torch

from prunekernels._finite import raise_pending, refuse_where
from tokenpruner.base.before_decoder import Choice, Context, Method
from tokenpruner.base.token_method import patches_left
from tokenpruner.decoder.merged_tokens import MergedTokens, checked_merge, concatenated
from tokenpruner.models.image_tokens import GridOf, ImageTokens, views_of
from tokenpruner.report.prefill_record import PickedImage


@dataclass(frozen=True)
class Selection:
    """What was chosen: `dropped` bool [B, L], image by image the tokens left, and in `merged` what went into them."""

    dropped: torch.Tensor
    images: tuple[PickedImage, ...]
    merged: MergedTokens | None = None

    @property
    def is_whole(self) -> bool:
        """True where every token stays."""
        return all(len(one.columns) == one.image.size for one in self.images)

    def with_merged(self, values: torch.Tensor) -> torch.Tensor:
        """`values` [B, L, D] of all tokens, those that others went into averaged with them."""
        return values if self.merged is None else self.merged(values)


@dataclass(frozen=True)
class Sequences:
    """The rows of a batch as a method finds them: `embeds` [B, L, D], and `mask` bool [B, L] tells padding.

    In packed rows each of the `samples` int64 [B, L] is judged by itself, as a row is.
    """

    embeds: torch.Tensor
    mask: torch.Tensor
    samples: torch.Tensor | None = None

    def text(self, image: ImageTokens, is_text: torch.Tensor) -> torch.Tensor:
        """The embeddings [T, D] of the text that goes with `image`."""
        own = is_text[image.row]
        own = own if self.samples is None else own & (self.samples[image.row] == image.sample)
        return self.embeds[image.row, own]


def select_tokens(rows: Sequences, images: Sequence[ImageTokens], method: Method, grid: GridOf) -> Selection:
    """Let `method` pick among the visual tokens of each image."""
    # picks are indices: no gradient flows through them
    rows = replace(rows, embeds=rows.embeds.detach())
    embeds, mask = rows.embeds, rows.mask
    dropped = torch.zeros(mask.shape, dtype=torch.bool, device=embeds.device)
    visual = dropped.clone()
    for image in images:
        visual[image.row, image.columns] = True
        visual[image.row, image.newlines] = True
    picked, merges = [], []
    judged = [image.with_newlines_among() if method.newlines == "compete" else image for image in images]
    contexts = _contexts(rows, judged, method, mask & ~visual, grid)
    # scores in the precision that the method takes, whatever the model runs in
    with torch.autocast(embeds.device.type, enabled=False):
        choices = _choices(contexts, _counts(images, method), method)
    all_picks = [picks for _, choice in choices for picks in choice.picks]
    for given, image, picks in zip(images, judged, all_picks, strict=True):
        left = image.columns[picks]
        if len(image.newlines) and (method.newlines == "keep" or method.keeps_all):
            left = torch.cat([left, image.newlines]).sort().values
        dropped[given.row, given.columns], dropped[given.row, given.newlines] = True, True
        dropped[given.row, left] = False
        picked.append(PickedImage(given, left))
    places = [image.row * mask.shape[1] + image.columns for image in judged]
    for first, choice in choices:
        own = slice(first, first + len(choice.picks))
        merges += _merges(contexts[own], places[own], choice, method)
    return checked(Selection(dropped, tuple(picked), concatenated(merges)), visual & ~mask)


def checked(selected: Selection, hidden: torch.Tensor) -> Selection:
    """`selected`; raises ValueError where some tokens go and others, `hidden` bool [B, L], are masked and visual."""
    if not selected.is_whole:
        refuse_where(hidden.any(1), lambda row: f"row {row[0]}: want attention_mask 1 on image tokens, got 0")
    # once for all images, where the lengths are waited for anyway
    raise_pending()
    return selected


def joined(parts: Sequence[Selection]) -> Selection:
    """What was chosen of some images and of others, as one."""
    if len(parts) == 1:
        return parts[0]
    dropped = torch.stack([part.dropped for part in parts]).any(0)
    merged = concatenated([part.merged for part in parts if part.merged is not None])
    return Selection(dropped, tuple(image for part in parts for image in part.images), merged)


def _contexts(
    rows: Sequences, images: Sequence[ImageTokens], method: Method, is_text: torch.Tensor, grid: GridOf
) -> list[Context]:
    """What the method reads of each image or frame; `is_text` bool [B, L]."""
    contexts = []
    for _, group in groupby(images, key=lambda image: (image.row, image.number)):
        own = list(group)
        frames = tuple(rows.embeds[image.row, image.columns] for image in own)
        text = rows.text(own[0], is_text) if "text" in method.needs else None
        for image, visual in zip(own, frames, strict=True):
            one, views = views_of(image, grid)
            place = (image.row, image.number, text, image.frame, views, image.own_reading())
            contexts.append(Context(visual, one, *place, frames if len(frames) > 1 else ()))
    return contexts


def _choices(contexts: Sequence[Context], counts: Sequence[int], method: Method) -> list[tuple[int, Choice]]:
    """What the method chooses of each image or video, beside the number of its first frame among all."""
    found: list[tuple[int, Choice]] = []
    numbered = enumerate(zip(contexts, counts, strict=True))
    for _, group in groupby(numbered, key=lambda entry: (entry[1][0].row, entry[1][0].image)):
        numbers, pairs = zip(*group, strict=True)
        frames, own = zip(*pairs, strict=True)
        found.append((numbers[0], method.select_frames(frames, own)))
    return found


def _merges(
    frames: Sequence[Context], places: Sequence[torch.Tensor], choice: Choice, method: Method
) -> list[MergedTokens]:
    """What is merged in an image or video, whose tokens have the flat `places` [N], frame by frame or over all."""
    if choice.merge is not None:
        firsts = [0, *accumulate(frame.size for frame in frames)]
        picks = torch.cat([own + first for own, first in zip(choice.picks, firsts, strict=False)])
        return [_checked(choice.merge, picks, torch.cat([*places]), method)]
    whole = zip(frames, places, choice.picks, strict=True)
    found = [(method.merge(frame, picks), picks, own) for frame, own, picks in whole if 0 < len(picks) < frame.size]
    return [_checked(merge, picks, own, method) for merge, picks, own in found if merge is not None]


def _checked(merge: object, picks: torch.Tensor, places: torch.Tensor, method: Method) -> MergedTokens:
    return MergedTokens.of(checked_merge(merge, picks, len(places), type(method).__name__), picks, places)


def _counts(images: Sequence[ImageTokens], method: Method) -> list[int]:
    """How many tokens of each image the method picks: a budget is shared out within a row, newlines among its sizes."""
    counts: list[int] = []
    for (row, _), group in groupby(images, key=lambda image: (image.row, image.sample)):
        own = list(group)
        for image, n in zip(own, method.counts([image.size for image in own], row), strict=True):
            place, n_newlines = f"image {image.number} of row {row}", len(image.newlines)
            n_patches = image.size if method.newlines == "compete" else len(image.columns)
            counts.append(patches_left(n, n_newlines, n_patches, method.newlines, place))
    return counts
