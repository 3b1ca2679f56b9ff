"""The prompt as it would be with all image tokens, whose positions vLLM's own code can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tokenpruner.integrations.vllm.item_request import ItemRequest
from tokenpruner.integrations.vllm.mrope_positions import ShortenedImage, with_whole_images
from tokenpruner.integrations.vllm.served_method import OPTION

if TYPE_CHECKING:
    from vllm.multimodal.inputs import MultiModalFeatureSpec


@dataclass(frozen=True)
class WholePrompt:
    """Its `tokens` and `features`, and in `images` where the shortened prompt has fewer."""

    tokens: list[int]
    features: list[MultiModalFeatureSpec]
    images: list[ShortenedImage]

    @classmethod
    def of(cls, tokens: Sequence[int], features: Sequence[MultiModalFeatureSpec]) -> WholePrompt:
        """Out of the shortened one."""
        images, whole, n_more = [], [], 0
        for feature in sorted(features, key=lambda own: own.mm_position.offset):
            first, n_kept = _run(feature)
            size = n_kept
            if feature.data is not None and OPTION in feature.data:
                size = ItemRequest.decoded(feature.data[OPTION].data).size
                images.append(ShortenedImage(first, n_kept, size))
            whole.append(_with_more(feature, n_more, size - n_kept))
            n_more += size - n_kept
        return cls(with_whole_images(tokens, images), whole, images)


def _run(feature: MultiModalFeatureSpec) -> tuple[int, int]:
    """The first token of a prompt that stands for a part of an image or a video, and how many there are."""
    position = feature.mm_position
    if position.is_embed is None:
        return position.offset, position.length
    embedded = position.is_embed.nonzero()[:, 0]
    return position.offset + int(embedded[0]), len(embedded)


def _with_more(feature: MultiModalFeatureSpec, n_before: int, n_more: int) -> MultiModalFeatureSpec:
    """`feature` moved by `n_before` tokens, with `n_more` tokens of its own before the first of them."""
    position = feature.mm_position
    is_embed = position.is_embed
    if is_embed is not None and n_more:
        first = int(is_embed.nonzero()[0, 0])
        is_embed = is_embed.new_ones(len(is_embed) + n_more)
        is_embed[:first] = False
        is_embed[first + n_more :] = position.is_embed[first:]
    moved = replace(position, offset=position.offset + n_before, length=position.length + n_more, is_embed=is_embed)
    return replace(feature, mm_position=moved)
