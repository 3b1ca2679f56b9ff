"""One cut before a layer, by what is read in the layer before it."""

from __future__ import annotations

from dataclasses import dataclass

from tokenpruner.base.inside_decoder import Queries, Stage
from tokenpruner.base.layer_budget import Schedule


@dataclass(frozen=True)
class OneCut(Schedule):
    """Rule: x of the tokens go on from `layer`, counted from 0."""

    layer: int = 2

    def stages(self, n_layers: int, x: float, queries: Queries | None) -> tuple[Stage, ...]:
        """One stage."""
        return (Stage(self.layer, x, None if queries is None else self.layer - 1, queries or "all"),)
