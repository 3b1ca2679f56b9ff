"""RESTORE (Cho et al., ICML 2026, arXiv:2606.01711): what a method drops goes into anchors among it, attention made up.

kept      a share 1 - `merged` of the tokens that stay are those that `method` picks
anchors   the others are chosen among the tokens that it does not pick: `base/selectors/anchors.py`; each of these
          tokens goes into the anchor that is most like it, by cosine, and an anchor is the mean of what goes into it

The authors calibrate the attention by the sizes of the groups, positions="calibrated" or "published", which not every
model can take (`decoder/calibration.py`). They put an anchor at the median place of its group, here it has its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import registry
from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Context, Merge, Method
from tokenpruner.base.merging.nearest import into_nearest, left_over
from tokenpruner.base.positions import Place
from tokenpruner.base.selectors.anchors import Anchors
from tokenpruner.base.token_method import TokenMethod


@dataclass(frozen=True)
class Restore(Method):
    """Paper: Cho et al. 2026, ICML (arXiv:2606.01711); a method's picks, and anchors that the others are merged into.

    `method` picks, by its name, and a share `merged` of the tokens that stay are made of what it does not.
    """

    keep_ratio: float = 64 / 576
    method: str = "divprune"
    merged: float = 0.5
    tower_layer: int = -2

    cost: ClassVar[str] = "that of the method inside, 2 N^2 D FLOP for the cosines"
    published_count: ClassVar[str] = "64 of 576: 32 and 32 (also 128, 192)"
    published_positions: ClassVar[Place] = "calibrated"

    def __post_init__(self) -> None:
        if not 0 <= self.merged < 1:
            raise ValueError(f"restore wants merged in [0, 1), got {self.merged}")
        super().__post_init__()
        # it reads what the method inside reads
        object.__setattr__(self, "needs", self.inner().needs | {"visual"})

    def inner(self) -> Method:
        """The method that picks first, at its defaults."""
        kind = registry.load("tokenpruner.methods", self.method, TokenMethod)
        if kind is Restore or not issubclass(kind, Method) or kind().may_merge:
            raise ValueError(f"want another method before the decoder that merges nothing, got {self.method!r}")
        return kind()

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """The picks of the method inside, and the anchors."""
        first = self._first(context, n)
        others = left_over(context.size, first)
        anchors = others[Anchors().pick(context.visual[others], None, n - len(first))] if n > len(first) else others[:0]
        return torch.cat([first, anchors]).sort().values

    def merge(self, context: Context, picks: torch.Tensor) -> Merge:
        """What is not picked goes into the most similar anchor."""
        anchors = (~torch.isin(picks, self._first(context, len(picks)))).nonzero().flatten()
        return Merge(into_nearest(unit_rows(context.visual), picks, anchors))

    def _first(self, context: Context, n: int) -> torch.Tensor:
        # 0.1 of 100 are 10, and not what rounding makes of 1 - 0.9
        return self.inner().keep(context, max(1, math.floor(n * (1 - self.merged) + 1e-9)))
