"""How tokens are chosen ahead of the decoder: by a method in front of it, or by one inside the vision tower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tokenpruner.base.before_decoder import Method
from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.before_decoder.cut_tower import CutTower
from tokenpruner.before_decoder.selection import Selection, Sequences, select_tokens
from tokenpruner.models.adapter import Adapter, FeatureReader
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.tower_reader import TowerReader
from tokenpruner.report.records import Prefill


class Choice(Protocol):
    """What chooses among the tokens of one model."""

    @property
    def reader(self) -> FeatureReader | None:
        """What listens to the vision tower, if anything does."""

    def select(self, rows: Sequences, images: Sequence[ImageTokens]) -> Selection:
        """The tokens that stay of each image."""

    def counted(self, record: Prefill) -> Prefill:
        """`record` of the decoder's pass, with what was done ahead of it where that counts."""


class InFront:
    """The choice of a method before the decoder."""

    def __init__(self, adapter: Adapter, method: Method) -> None:
        self.reader = TowerReader.of(adapter.merger, adapter.backbone, *method.tower_needs())
        self.method, self.grid = method, adapter.grid

    def select(self, rows: Sequences, images: Sequence[ImageTokens]) -> Selection:
        """What the method picks."""
        return select_tokens(rows, images, self.method, self.grid)

    def counted(self, record: Prefill) -> Prefill:
        """As it is."""
        return record


def choice_of(adapter: Adapter, method: Method | BlockMethod, acts: Callable[[], bool]) -> Choice:
    """The choice of `method` in a model, where it `acts` in a thread; raises ValueError where it does not fit."""
    return InFront(adapter, method) if isinstance(method, Method) else CutTower(adapter, method, acts)
