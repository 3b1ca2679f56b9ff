"""The record of one pruned pass: what was kept, counts by row, and what the decoder would have cost and did.

What is still on a GPU while the pass runs is noted as tensors and copied once, behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from torch import nn

from tokenpruner.models.decoder_layers import DecoderLayers
from tokenpruner.models.image_tokens import GridOf, ImageTokens, views_of
from tokenpruner.report.flops import LayerCost, layer_cost
from tokenpruner.report.records import KeptImage, Prefill


@dataclass(frozen=True)
class PickedImage:
    """Which `columns` of its row are left of an `image`, int64 and ascending, from decoder layer `layer` on."""

    image: ImageTokens
    columns: torch.Tensor
    layer: int = 0


@dataclass(frozen=True)
class Lengths:
    """The batch rows of one pass: `real` bool [B, L] tokens of the padded ones, and what each layer saw.

    `layers` are bool [B, P], True where a token stands and False where padding does, one entry a layer; `pasts` the
    cached slots without pruning and with, layer by layer.
    """

    real: torch.Tensor
    layers: Sequence[torch.Tensor]
    pasts: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class PrefillCosts:
    """What is needed to price a pass of a text backbone: the cost of each of its layers, where it is known."""

    layers: tuple[LayerCost | None, ...]
    device: torch.device

    @classmethod
    def of(cls, backbone: nn.Module) -> PrefillCosts:
        """Read a backbone's modules and device."""
        try:
            layers = DecoderLayers.of(backbone).modules
        except ValueError:
            # a decoder without a list of layers is one whose cost is not known
            return cls((None,), next(backbone.parameters()).device)
        costs = tuple(layer_cost(layer, getattr(backbone, "config")) for layer in layers)  # noqa: B009
        return cls(costs, next(backbone.parameters()).device)

    def record(
        self, cuts: Sequence[Sequence[PickedImage]], lengths: Lengths, grid: GridOf, skips: bool = False
    ) -> Prefill:
        """The numbers of one pass, times and bytes apart: `cuts` are the images behind each cut, the last one last.

        With `skips` the layers have keys and values of all tokens. Waits for the device.
        """
        found = kept_images([image for cut in cuts for image in cut], grid)
        edges = [*accumulate((len(cut) for cut in cuts), initial=0)]
        images = [found[first:last] for first, last in pairwise(edges)]
        # layers that saw the same tokens are copied once
        own = {id(layer): layer for layer in lengths.layers}
        counts = torch.stack([lengths.real.sum(1), *(layer.sum(1) for layer in own.values())]).tolist()
        by_layer = [counts[1 + [*own].index(id(layer))] for layer in lengths.layers]
        before, after = self.flops(lengths, skips)
        return Prefill(
            images=images[-1],
            tokens_before=tuple(counts[0]),
            tokens_after=tuple(by_layer[-1]),
            selection_ms=0.0,
            prefill_ms=None,
            flops_before=before,
            flops_after=after,
            kv_bytes_before=None,
            kv_bytes_after=None,
            layers=tuple(tuple(rows) for rows in by_layer),
            cuts=tuple(images) if len(images) > 1 else (),
        )

    def flops(self, lengths: Lengths, skips: bool = False) -> tuple[int | None, int | None]:
        """What the rows cost, padding included, with all tokens and with those that are left."""
        n_rows, length = lengths.real.shape
        before, after = 0, 0
        for cost, layer, past in zip(self.layers, lengths.layers, lengths.pasts, strict=True):
            if cost is None:
                return None, None
            before += n_rows * cost.flops(length, past[0])
            left = layer.shape[1]
            own = cost.skipping_flops(length, left, past[1]) if skips else cost.flops(left, past[1])
            after += n_rows * own
        return before, after


def kept_images(picked: Sequence[PickedImage], grid: GridOf) -> tuple[KeptImage, ...]:
    """What a report holds of images; one copy from the device for all of them."""
    parts = [part for one in picked for part in (one.columns, one.image.columns, one.image.newlines)]
    numbers = torch.cat(parts).tolist() if parts else []
    edges = [*accumulate((len(part) for part in parts), initial=0)]
    copied = iter(numbers[first:last] for first, last in pairwise(edges))
    return tuple(_kept(one, next(copied), next(copied), next(copied), grid) for one in picked)


def _kept(one: PickedImage, left: list[int], patches: list[int], newlines: list[int], grid: GridOf) -> KeptImage:
    image, columns = one.image, sorted([*patches, *newlines])
    told, views = views_of(image, grid)
    is_run = columns[-1] - columns[0] + 1 == len(columns)
    places = {column: place for place, column in enumerate(columns)}
    return KeptImage(
        row=image.row,
        image=image.number,
        size=len(columns),
        kept=tuple(places[column] for column in left),
        grid=told,
        frame=image.frame,
        views=views,
        columns=range(columns[0], columns[-1] + 1) if is_run else tuple(columns),
        layer=one.layer,
        newlines=tuple(places[column] for column in newlines),
    )


def with_bytes(record: Prefill, held: tuple[int, int] | None) -> Prefill:
    """`record` with the bytes that a cache would hold behind the pass, and holds; None where they are not known."""
    before, after = (None, None) if held is None else held
    return replace(record, kv_bytes_before=before, kv_bytes_after=after)
