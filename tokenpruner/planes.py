"""Planes of vision features that are added behind the first layers (DeepStack), where tokens are cut among those.

The backbone adds plane j to the visual tokens behind its layer j and knows nothing of a cut. So it gets no planes,
and hooks add them to those tokens that are there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tokenpruner.along import MARKS, PER_VISUAL
from tokenpruner.cutting import Remaining, taken
from tokenpruner.entering import Kwargs


@dataclass(frozen=True)
class Planes:
    """The `values` [V, D] of each plane, and the `numbers` int64 [B, L] of the tokens in them, -1 for text."""

    values: tuple[torch.Tensor, ...]
    numbers: torch.Tensor

    @classmethod
    def of(cls, kwargs: Kwargs, first: int) -> Planes | None:
        """The planes among a backbone's arguments, if any is added behind layer `first` or a later one."""
        values, marks = kwargs.get(PER_VISUAL[0]), kwargs.get(MARKS)
        if not isinstance(values, list | tuple) or not isinstance(marks, torch.Tensor) or len(values) <= first:
            return None
        marks = marks.bool()
        numbers = (marks.flatten().cumsum(0) - 1).view(marks.shape).masked_fill(~marks, -1)
        return cls(tuple(values), numbers)

    def added(self, number: int, hidden: torch.Tensor, layout: Remaining) -> torch.Tensor:
        """`hidden` [B, P, D] with plane `number` added to its visual tokens."""
        numbers = taken(self.numbers, layout.index, -1).masked_fill(~layout.mask, -1).to(hidden.device)
        where = numbers >= 0
        hidden = hidden.clone()
        hidden[where] = hidden[where] + self.values[number].to(hidden.device, hidden.dtype)[numbers[where]]
        return hidden
