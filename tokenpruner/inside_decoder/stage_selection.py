"""One cut inside the decoder: the visual tokens that are still there, image by image, and which of them go on.

Before anything runs the stages of a method are held against the decoder. Each image is judged by its own row: the
attention that a method sees is that row's, without padding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import nn

from prunekernels._finite import raise_pending, refuse_where
from tokenpruner.base.inside_decoder import Cost, LayerContext, LayerMethod, Stage, check_picks, check_stages
from tokenpruner.base.token_method import Newlines
from tokenpruner.decoder.kept_tokens import KeptTokens
from tokenpruner.decoder.merged_tokens import MergedTokens, checked_merge, concatenated
from tokenpruner.models.attention import Attention
from tokenpruner.models.attention_probe import AttentionInputs, attention_of, attention_of_row, unreadable
from tokenpruner.models.decoder_layers import DecoderLayers
from tokenpruner.models.image_tokens import GridOf, ImageTokens, views_of
from tokenpruner.report.prefill_record import PickedImage

# of a row and a sample in it
MethodOf = Callable[[int, int], LayerMethod]
WAY_OUT = "all layers have to hold the same tokens, take a method before the decoder, such as DivPrune"


def checked_stages(layers: DecoderLayers, method: LayerMethod) -> tuple[Stage, ...]:
    """The stages of `method` in a decoder; raises ValueError where they cannot be had."""
    stages = method.stages(len(layers.modules))
    if not isinstance(stages, tuple) or not all(isinstance(stage, Stage) for stage in stages):
        raise ValueError(f"{type(method).__name__}: want stages as a tuple of Stage, got {stages!r:.80}")
    check_stages(stages, len(layers.modules))
    for stage in stages:
        if stage.reads is not None and attention_of(layers.modules[stage.reads]) is None:
            raise ValueError(f"layer {stage.reads}: {unreadable(layers.modules[stage.reads])}")
    first = stages[0].layer if stages else len(layers.modules)
    check_own_keys(layers, first)
    for number in range(first, len(layers.modules)):
        found = attention_of(layers.modules[number])
        if method.mode != "drop" and found is None:
            raise ValueError(f'mode="{method.mode}", layer {number}: {unreadable(layers.modules[number])}')
        if method.mode != "drop" and layers.kinds[number].is_flash:
            raise ValueError(f'mode="{method.mode}" wants attention "sdpa" or "eager", got flash attention')
    return stages


def check_own_keys(layers: DecoderLayers, first: int) -> None:
    """Raise ValueError where a layer from `first` on attends to what an earlier one holds."""
    for number in range(first, len(layers.modules)):
        found = attention_of(layers.modules[number])
        why = "" if found is None else _needs_earlier_layer(found[1])
        if why:
            raise ValueError(f"layer {number}, {type(layers.modules[number]).__name__}, {why}: {WAY_OUT}")


def check_real(images: list[ImageTokens], mask: torch.Tensor) -> None:
    """Raise ValueError where a token of an image is padding, by `mask` bool [B, L]."""
    for image in images:
        message = f"row {image.row}: want attention_mask 1 on image tokens, got 0"
        refuse_where(~mask[image.row, image.columns], functools.partial(_same, message))


def _same(message: str, place: tuple[int, ...]) -> str:
    return message


def _needs_earlier_layer(attention: nn.Module) -> str:
    """Why a layer's attention needs an earlier layer to hold the same tokens; "" where it does not."""
    if getattr(attention, "is_kv_shared_layer", False):
        return "reads the keys of an earlier layer"
    return "takes its keys by an index that other layers share" if hasattr(attention, "indexer") else ""


@dataclass(frozen=True)
class RemainingImage:
    """The tokens of an image or frame that are still there: `kept` int64 [N] of them, at `columns` [N] by now.

    `newlines` are where the tokens stand by now that belong to the image and are not chosen among; `image` holds those
    that are, `as_entered` is the image as the model has it. `came` int64 are those of its tokens that came to the first
    layer, `entered_newlines` how many of its newlines did.
    """

    image: ImageTokens
    kept: torch.Tensor
    columns: torch.Tensor
    newlines: torch.Tensor
    as_entered: ImageTokens
    came: torch.Tensor
    entered_newlines: int

    @classmethod
    def of(cls, image: ImageTokens, newlines: Newlines) -> RemainingImage:
        """All tokens of an image that enters, its newlines among those that are chosen from where they `compete`."""
        own = image.with_newlines_among() if newlines == "compete" else image
        kept = torch.arange(len(own.columns), device=own.columns.device)
        return cls(own, kept, own.columns, own.newlines, image, kept, len(own.newlines))

    def without(self, dropped: torch.Tensor) -> RemainingImage:
        """What enters of it where `dropped` bool [B, L] are taken out on the way in."""
        own = dropped[self.row].to(self.columns.device)
        places, newlines = (~own[self.columns]).nonzero().flatten(), self.newlines[~own[self.newlines]]
        kept, columns = self.kept[places], self.columns[places]
        image = replace(self.image, newlines=newlines)
        return RemainingImage(image, kept, columns, newlines, self.as_entered, kept, len(newlines))

    @property
    def row(self) -> int:
        """The batch row."""
        return self.image.row

    def moved(self, columns: torch.Tensor) -> RemainingImage:
        """The same tokens after a cut that put the columns there were at `columns` [B, P]."""
        own = columns[self.row]
        return replace(self, columns=own[self.columns], newlines=own[self.newlines])

    def without_newlines(self) -> RemainingImage:
        """The same without the newlines that are not chosen among."""
        return replace(self, newlines=self.newlines[:0])

    def picked(self, layer: int) -> PickedImage:
        """What is left of it from `layer` on, for the report."""
        left = self.image.columns[self.kept]
        if len(self.newlines):
            left = torch.cat([left, self.image.newlines]).sort().values
        return PickedImage(self.as_entered, left, layer)


@dataclass(frozen=True)
class StageInputs:
    """What a cut is decided on: `hidden` [B, P, D] of the tokens of `kept`, and the attention read for it, if one is.

    That is what the layer's attention gets and, bool [B, S], which of the slots before it are real. Columns of the pass
    that are not `is_prompt` bool [B, L] come after the prompt, and have no say; `samples` int64 [B, L] are those of
    packed rows, `costs` those of all decoder layers; `embeds` [B, L, D] are the tokens as they entered, if asked for.
    """

    hidden: torch.Tensor
    kept: KeptTokens
    is_prompt: torch.Tensor
    attention_inputs: tuple[AttentionInputs, torch.Tensor] | None = None
    samples: torch.Tensor | None = None
    costs: tuple[Cost | None, ...] = ()
    embeds: torch.Tensor | None = None

    def real(self) -> torch.Tensor:
        """Which of the tokens have a say, bool [B, P]."""
        return self.kept.mask & self.is_prompt.gather(1, self.kept.index)

    def embeds_at(self, row: int, columns: torch.Tensor) -> torch.Tensor | None:
        """What the tokens at `columns` [N] of a row were as they entered, [N, D], where that is asked for."""
        return None if self.embeds is None else self.embeds[row, columns.to(self.embeds.device)].to(self.hidden.device)

    def of_sample(self, image: ImageTokens) -> torch.Tensor:
        """Which tokens of its row, bool [P], are of the sample that `image` is in: all where rows are not packed."""
        own = self.kept.index[image.row]
        return own >= 0 if self.samples is None else self.samples[image.row, own] == image.sample


@dataclass(frozen=True)
class Sequence:
    """One row, or one sample of a packed row, as a method sees it: padding and what comes after the prompt left out.

    `places` int64 [P] say where each of the row's tokens stands in it, `text` int64 [T] which of those are no visual
    tokens, `text_hidden` and `text_embeds` [T, D] what those are and were; `sizes` are the tokens of each of its
    images.
    """

    places: torch.Tensor
    text: torch.Tensor
    attention: Attention | None
    sizes: tuple[int, ...]
    text_hidden: torch.Tensor
    text_embeds: torch.Tensor | None = None

    @classmethod
    def of(cls, images: list[RemainingImage], inputs: StageInputs) -> Sequence:
        """The one that all of `images` are in."""
        row, own = images[0].row, images[0].image
        there = inputs.real()[row] & inputs.of_sample(own)
        is_text, read = there.clone(), inputs.attention_inputs
        for image in images:
            # tokens that pass layers by are where they were, and no text
            visual = image.as_entered if inputs.kept.is_whole else image
            is_text[visual.columns] = False
            is_text[visual.newlines] = False
        places = there.cumsum(0) - 1
        attention = None if read is None else attention_of_row(read[0], row, there, read[1][row])
        sizes = tuple(image.as_entered.size for image in images)
        # waits for the number of them, once
        text = is_text.nonzero().flatten()
        embeds = inputs.embeds_at(row, inputs.kept.index[row, text])
        return cls(places, places[text], attention, sizes, inputs.hidden[row, text], embeds)


def select_at_stage(
    images: list[RemainingImage], inputs: StageInputs, stage: Stage, methods: MethodOf, grid: GridOf
) -> tuple[list[RemainingImage], MergedTokens | None]:
    """Let the method of each row, or sample of a packed row, pick among its images' tokens; what goes into others."""
    found: list[RemainingImage] = []
    merges: list[MergedTokens] = []
    for (row, sample), group in groupby(images, key=lambda image: (image.row, image.image.sample)):
        together = list(group)
        sequence, method = Sequence.of(together, inputs), methods(row, sample)
        # how many tokens go on is up to the row's own method, which may have no cut here
        own = next((one for one in method.stages(len(inputs.costs)) if one.layer == stage.layer), None)
        if own is None:
            found += together
            continue
        for image in together:
            context = _context(image, inputs, sequence, own, grid)
            # scores in the precision that the method takes, whatever the model runs in
            with torch.autocast(context.hidden.device.type, enabled=False):
                picks = check_picks(method.select(context), context, method)
                is_less = len(picks) < context.n_tokens
                # tokens that pass layers by are still there
                merge = method.merge(context, picks) if is_less and method.mode == "drop" else None
            if merge is not None:
                merge = checked_merge(merge, picks, context.n_tokens, type(method).__name__)
                places = image.row * inputs.hidden.shape[1] + image.columns
                merges.append(MergedTokens.of(merge, picks, places))
            found.append(replace(image, kept=image.kept[picks], columns=image.columns[picks]))
    # once for all images, where the cut waits anyway
    raise_pending()
    return found, concatenated(merges)


def _context(
    image: RemainingImage, inputs: StageInputs, sequence: Sequence, stage: Stage, grid: GridOf
) -> LayerContext:
    """What the method reads of one image."""
    own, (one, views) = image.image, views_of(image.image, grid)
    return LayerContext(
        hidden=inputs.hidden[image.row, image.columns],
        kept=image.kept,
        size=len(own.columns),
        stage=stage,
        columns=sequence.places[image.columns],
        text=sequence.text,
        attention=sequence.attention,
        grid=one,
        row=image.row,
        image=own.number,
        frame=own.frame,
        views=views,
        n_newlines=image.entered_newlines,
        costs=inputs.costs,
        row_sizes=sequence.sizes,
        n_others=len(sequence.text),
        text_hidden=sequence.text_hidden,
        entered=len(image.came),
        embeds=inputs.embeds_at(image.row, own.columns[image.came]),
        text_embeds=sequence.text_embeds,
    )
