"""The choice of a method before the vision tower: what the tower is not given does not enter the decoder either.

FLOPs and times of the tower's passes are counted with those of the decoder's pass behind them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from torch import nn

from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.before_decoder.entered_tokens import EnteredTokens, PatchReader
from tokenpruner.before_decoder.selection import Selection, Sequences, select_tokens
from tokenpruner.models.adapter import Adapter, Encoded
from tokenpruner.models.image_layouts import Layout
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.report.records import Prefill
from tokenpruner.vision_transformer.fixed_tower import FixedTower
from tokenpruner.vision_transformer.packed_tower import PackedTower
from tokenpruner.vision_transformer.tower_use import TowerUse

TOWERS = ("vision_tower", "vision_model", "visual")


class Uses(threading.local):
    """The passes of the tower in this thread since the last one of the decoder."""

    def __init__(self) -> None:
        self.all: list[TowerUse] = []


class SeenPatches:
    """The tower of one model while it is given fewer patches; tells of each image which tokens it saw."""

    def __init__(self, adapter: Adapter, method: PixelMethod, acts: Callable[[], bool]) -> None:
        self.tower, self.method, self.acts = tower_of(adapter), method, acts
        self.uses, self.grid = Uses(), adapter.grid
        self.patches = PatchReader(adapter.merger, self.tower.module)
        self.hooked: tuple[nn.Module, ...] = (*self.tower.hooked,)

    @property
    def reader(self) -> SeenPatches | None:
        """Itself, where the tower is given less."""
        return None if self.method.keeps_all else self

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While open, the tower is given fewer patches, whichever thread encodes."""
        with self.tower.pruned(self.method, self.acts, self._note), self.patches.watch():
            yield

    def _note(self, use: TowerUse) -> None:
        self.patches.add(use.entered)
        self.uses.all.append(use)

    def forget(self) -> None:
        """Hold nothing more of this thread."""
        self.patches.forget()
        self.uses.all.clear()

    def read(self, encoded: Encoded, layouts: Sequence[Layout] | None) -> tuple[object, list[Layout]]:
        """The output as it is, and layouts that tell what the tower saw."""
        return self.patches.read(encoded, layouts)

    def select(self, rows: Sequences, images: Sequence[ImageTokens]) -> Selection:
        """The tokens of which the tower saw a patch."""
        return select_tokens(rows, images, EnteredTokens(saw_all=self.method.keeps_all), self.grid)

    def counted(self, record: Prefill) -> Prefill:
        """`record` of the decoder with what the tower took before."""
        uses, self.uses.all = self.uses.all, []
        if record.flops_before is not None and record.flops_after is not None:
            record = replace(
                record,
                flops_before=record.flops_before + sum(use.flops_before for use in uses),
                flops_after=record.flops_after + sum(use.flops_after for use in uses),
            )
        return replace(record, selection_ms=record.selection_ms + sum(use.selection.milliseconds() for use in uses))


def tower_of(adapter: Adapter) -> PackedTower | FixedTower:
    """The model's vision tower; raises ValueError with what can be done where it cannot be given fewer patches."""
    name, packed = type(adapter.model).__name__, PackedTower.below(adapter.merger, adapter.backbone)
    if packed is not None:
        return packed
    for part in TOWERS:
        module = getattr(adapter.merger, part, None)
        if isinstance(module, nn.Module):
            try:
                return FixedTower(module)
            except ValueError as error:
                raise ValueError(
                    f"the vision tower of {name} cannot be given fewer patches: {error}: prune behind it, for example "
                    "with DivPrune(keep_ratio=0.5), or hand the processor a smaller picture"
                ) from error
    raise ValueError(
        f"no vision tower of {name} is known that could be given fewer patches: prune behind it, for example with "
        "DivPrune(keep_ratio=0.5), or hand the processor a smaller picture"
    )
