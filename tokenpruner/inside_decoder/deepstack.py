"""DeepStack: vision features that are added behind the first layers, where tokens are cut among those.

The backbone adds the j-th features to the visual tokens behind its layer j and knows nothing of a cut. So it gets none,
and hooks add them to those tokens that are there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from tokenpruner.decoder.backbone_inputs import DEEPSTACK, VISUAL_MASK
from tokenpruner.decoder.kept_tokens import KeptTokens, gather_tokens
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

    def merged(self, with_merged: Callable[[torch.Tensor], torch.Tensor]) -> DeepStack:
        """The features as `with_merged` [B, L, D] makes the tokens: means where others went into one."""
        visual = self.numbers >= 0
        values = []
        for own in self.values:
            spread = own.new_zeros(*visual.shape, own.shape[-1])
            spread[visual.to(own.device)] = own
            values.append(with_merged(spread)[visual.to(own.device)])
        return replace(self, values=tuple(values))

    def add(self, number: int, hidden: torch.Tensor, kept: KeptTokens) -> torch.Tensor:
        """`hidden` [B, P, D] with the features of layer `number` added to its visual tokens."""
        numbers = gather_tokens(self.numbers, kept.index, -1).masked_fill(~kept.mask, -1).to(hidden.device)
        where = numbers >= 0
        hidden = hidden.clone()
        hidden[where] = hidden[where] + self.values[number].to(hidden.device, hidden.dtype)[numbers[where]]
        return hidden
