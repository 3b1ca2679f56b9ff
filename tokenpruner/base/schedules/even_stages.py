"""Equal stages of the decoder's depth, each with a fraction x of the tokens of the one before (PyramidDrop).

The attention is that of a stage's first layer, computed ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenpruner.base.inside_decoder import Queries, Stage
from tokenpruner.base.layer_budget import Schedule


@dataclass(frozen=True)
class EvenStages(Schedule):
    """Paper: Xing et al. 2025, CVPR, PyramidDrop (arXiv:2410.17247); cuts at 1/4, 1/2, 3/4 of the depth for four."""

    n: int = 4

    def __post_init__(self) -> None:
        if not isinstance(self.n, int) or isinstance(self.n, bool) or self.n < 2:
            raise ValueError(f"want n_stages as a whole number of at least 2, got {self.n!r}")

    def stages(self, n_layers: int, x: float, queries: Queries | None) -> tuple[Stage, ...]:
        """`n` - 1 cuts; raises ValueError for a decoder of fewer layers."""
        if n_layers < self.n:
            raise ValueError(f"want at least {self.n} decoder layers for {self.n} stages, got {n_layers}")
        layers = [number * n_layers // self.n for number in range(1, self.n)]
        return tuple(
            Stage(layer, x**number, None if queries is None else layer, queries or "all")
            for number, layer in enumerate(layers, 1)
        )
