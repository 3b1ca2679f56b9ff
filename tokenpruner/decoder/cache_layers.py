"""A cache layer that knows its logical length: how many tokens the sequence would have without pruning.

    logical = physical + removed

`get_seq_length` is logical, so that generate(), manual decoding and later turns count on as if nothing had been
dropped; `get_mask_sizes` describes the physical slots, which start at offset `removed`. What a later forward pass
has to know about the rows lies in the layer, so that it follows the cache through beams, copies and batch selections:
which slots hold a token, and by how much later positions are lowered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from tokenpruner.decoder.calibration import Calibration
from tokenpruner.models.transformers_api import (
    DynamicIndexedLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
)

DIFFERS_BY_LAYER = (
    "the layers of this cache lack different tokens, as a method inside the decoder leaves them: go on inside "
    "`with prune(...)` with such a method that drops tokens"
)
NEEDS_HELP = "this cache holds pruned rows that need their own mask or positions: go on inside `with prune(...)`"


@dataclass(frozen=True)
class RowSchedules:
    """Which of the schedules `names` each row has, by its place `index` int64 [B], -1 where it has none yet."""

    names: tuple[str, ...]
    index: torch.Tensor

    def told(self) -> list[str | None]:
        """Row by row; waits for the device."""
        return [None if place < 0 else self.names[place] for place in self.index.tolist()]


@dataclass(frozen=True)
class PrunedPrefix:
    """The slots of a pruned cache: `mask` bool [B, P], True where a token stands, and `shift` int64 [B].

    The last `n_croppable` slots stand for as many last tokens: nothing was dropped among them. `is_padded` and
    `is_shifted` say whether any slot is empty and any shift not 0, looked up once; `differs_by_layer` whether the
    layers of the cache lack different tokens, so that no mask fits all of them. With a `calibration` attention wants a
    bias for every slot; with `schedules` some rows skip this layer, of which it holds nothing.
    """

    mask: torch.Tensor
    shift: torch.Tensor
    n_croppable: int
    is_padded: bool
    is_shifted: bool
    differs_by_layer: bool = False
    calibration: Calibration | None = None
    schedules: RowSchedules | None = None

    @classmethod
    def of(
        cls, mask: torch.Tensor, shift: torch.Tensor, n_croppable: int, differs_by_layer: bool = False
    ) -> PrunedPrefix:
        """The prefix of these slots and shifts."""
        return cls(mask, shift, n_croppable, not bool(mask.all()), bool(shift.any()), differs_by_layer)

    def rows(self, index: torch.Tensor) -> PrunedPrefix:
        """The prefix of the batch rows `index`."""
        index = index.to(self.mask.device)
        own = None if self.calibration is None else self.calibration.rows(index)
        said = self.schedules
        said = None if said is None else replace(said, index=said.index[index])
        return replace(self, mask=self.mask[index], shift=self.shift[index], calibration=own, schedules=said)

    def cropped(self, count: int) -> PrunedPrefix:
        """The prefix without its last `count` slots."""
        mask = self.mask[:, : self.mask.shape[1] - count]
        own = None if self.calibration is None else self.calibration.cropped(count)
        return replace(self, mask=mask, n_croppable=self.n_croppable - count, calibration=own)

    @property
    def needs_help(self) -> bool:
        """True where a mask or positions of the plain kind would not fit."""
        return self.is_padded or self.is_shifted or self.calibration is not None


class LogicalLength:
    """What a layer of a pruned cache adds to its plain kind: `removed` tokens a row are missing from its past."""

    removed: int = 0
    prefix: PrunedPrefix | None = None
    masks_allowed: bool = False

    @property
    def physical_length(self) -> int:
        """How many slots there have been."""
        return int(super().get_seq_length())  # type: ignore[misc]

    def get_seq_length(self) -> int:
        """The logical length."""
        physical = self.physical_length
        return physical + self.removed if physical else 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the slots that the next mask describes."""
        if self.prefix is not None and self.prefix.needs_help and not self.masks_allowed:
            raise ValueError(NEEDS_HELP)
        return self._slots(query_length)

    def _slots(self, query_length: int) -> tuple[int, int]:
        return self.physical_length + query_length, self.removed

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values; refused where nobody made the mask that this layer needs."""
        if self.prefix is not None and self.prefix.differs_by_layer and not self.masks_allowed:
            raise ValueError(DIFFERS_BY_LAYER)
        return super().update(key_states, value_states, *args, **kwargs)  # type: ignore[misc]

    def crop(self, tokens_to_remove: int) -> None:
        """Take off the last tokens (a negative count), or cut to a logical length (a positive one)."""
        count = -tokens_to_remove if tokens_to_remove <= 0 else max(self.get_seq_length() - tokens_to_remove, 0)
        prefix = self.prefix
        if prefix is not None:
            inside = max(0, count - self.physical_length + prefix.mask.shape[1])
            if inside > prefix.n_croppable:
                free = count - inside + prefix.n_croppable
                raise ValueError(f"want at most the {free} tokens behind the last dropped one cropped, got {count}")
            prefix = prefix.cropped(inside)
        if count:
            super().crop(-count)  # type: ignore[misc]
        self.prefix = prefix

    def reset(self) -> None:
        """Empty the layer; what comes next is not pruned."""
        super().reset()  # type: ignore[misc]
        self.keys = self.values = None
        self.is_initialized = False
        self.removed, self.prefix = 0, None

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Reorder the rows."""
        super().reorder_cache(beam_idx)  # type: ignore[misc]
        self._take_rows(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row."""
        super().batch_repeat_interleave(repeats)  # type: ignore[misc]
        if self.prefix is not None:
            rows = torch.arange(len(self.prefix.shift), device=self.prefix.shift.device)
            self._take_rows(rows.repeat_interleave(repeats))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Take some rows."""
        super().batch_select_indices(indices)  # type: ignore[misc]
        self._take_rows(indices)

    def _take_rows(self, index: torch.Tensor) -> None:
        if self.prefix is not None:
            self.prefix = self.prefix.rows(index)


class PrunedLayer(LogicalLength, DynamicLayer):
    """A layer that keeps everything."""


class PrunedIndexedLayer(LogicalLength, DynamicIndexedLayer):
    """A layer with an index of its keys, which lacks the same tokens."""


class PrunedSlidingLayer(LogicalLength, DynamicSlidingWindowLayer):
    """A layer that keeps a window: the last tokens of those that were not dropped."""

    def _slots(self, query_length: int) -> tuple[int, int]:
        length, offset = DynamicSlidingWindowLayer.get_mask_sizes(self, query_length)
        return length, offset + self.removed

    def reset(self) -> None:
        """Empty the layer; what comes next is not pruned."""
        super().reset()
        self.cumulative_length = 0


class PrunedHybridLayer(LogicalLength, LinearAttentionAndFullAttentionLayer):
    """A layer that keeps everything, and a state."""


class PrunedHybridSlidingLayer(PrunedSlidingLayer, LinearAttentionAndSlidingWindowAttentionLayer):
    """A layer that keeps a window, and a state."""


KINDS: dict[type, type[LogicalLength]] = {
    DynamicLayer: PrunedLayer,
    DynamicIndexedLayer: PrunedIndexedLayer,
    DynamicSlidingWindowLayer: PrunedSlidingLayer,
    LinearAttentionAndFullAttentionLayer: PrunedHybridLayer,
    LinearAttentionAndSlidingWindowAttentionLayer: PrunedHybridSlidingLayer,
}
