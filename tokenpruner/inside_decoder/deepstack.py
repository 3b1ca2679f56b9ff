"""DeepStack: vision features that are added behind the first layers, where tokens are cut among those.

The backbone adds the j-th features to the visual tokens behind its layer j and knows nothing of a cut. So it gets none,
and hooks add them to those tokens that are there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from tokenpruner.decoder.backbone_inputs import DEEPSTACK, VISUAL_MASK
from tokenpruner.decoder.kept_tokens import KeptTokens, gather_tokens
from tokenpruner.decoder.merged_tokens import MergedTokens
from tokenpruner.models.transformers_api import Kwargs


@dataclass(frozen=True)
class DeepStack:
    """The `values` [V, D] for each layer, and the `numbers` int64 [B, L] of the tokens in them, -1 for text."""

    values: tuple[torch.Tensor, ...]
    numbers: torch.Tensor

    @classmethod
    def of(cls, kwargs: Kwargs, first: int) -> DeepStack | None:
        """The features among a backbone's arguments, if any are added behind layer `first` or a later one."""
        values, visual = kwargs.get(DEEPSTACK[0]), kwargs.get(VISUAL_MASK)
        if not isinstance(values, list | tuple) or not isinstance(visual, torch.Tensor) or len(values) <= first:
            return None
        visual = visual.bool()
        numbers = (visual.flatten().cumsum(0) - 1).view(visual.shape).masked_fill(~visual, -1)
        return cls(tuple(values), numbers)

    def add(self, number: int, hidden: torch.Tensor, kept: KeptTokens) -> torch.Tensor:
        """`hidden` [B, P, D] with the features of layer `number` added to its visual tokens."""
        numbers = gather_tokens(self.numbers, kept.index, -1).masked_fill(~kept.mask, -1).to(hidden.device)
        where = numbers >= 0
        hidden = hidden.clone()
        hidden[where] = hidden[where] + self.values[number].to(hidden.device, hidden.dtype)[numbers[where]]
        return hidden

    def with_merged(self, merged: MergedTokens, kept: KeptTokens) -> DeepStack:
        """The same where tokens of `kept` go into others: a token that stands for several gets the mean of theirs."""
        numbers = gather_tokens(self.numbers, kept.index, -1).flatten()
        own = replace(merged, source=numbers[merged.source], into=numbers[merged.into])
        return replace(self, values=tuple(own(value[None])[0] for value in self.values))
