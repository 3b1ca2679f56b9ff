"""A method inside the decoder put together of parts: who scores, who picks, and before which layers.

    composed_inside:scorer=last_token,schedule="one_cut:layer=2"        FastV
    composed_inside:selector=farthest_point,schedule=even_stages        one that nobody has published

Positions, `mode` and the four budgets are those of every method there. A selector that looks at features alone, here
hidden states, asks for no scores and reads no attention: its scorer is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokenpruner.base.inside_decoder import LayerScorer
from tokenpruner.base.layer_budget import BudgetedLayerMethod, Schedule
from tokenpruner.base.parts import Selector, part
from tokenpruner.base.schedules.one_cut import OneCut
from tokenpruner.base.scorers.last_token import LastToken
from tokenpruner.base.selectors.top import Top


@dataclass(frozen=True)
class ComposedInside(BudgetedLayerMethod):
    """Rule: any scorer and selector inside the decoder, on any schedule over its layers, by their names."""

    scorer: LayerScorer | str | None = LastToken()  # type: ignore[assignment]
    selector: Selector | str = Top()  # type: ignore[assignment]
    schedule: Schedule | str = OneCut()  # type: ignore[assignment]

    reads: ClassVar[str] = "what its scorer reads, by default the last token's attention"
    cost: ClassVar[str] = "that of its parts"

    def __post_init__(self) -> None:
        selector, schedule = part(self.selector, Selector), part(self.schedule, Schedule)
        scorer = part(self.scorer, LayerScorer) if self.scorer is not None and selector.reads_scores else None
        if scorer is None and selector.reads_scores:
            raise ValueError(f"{selector} wants a scorer, got none")
        for name, found in {"scorer": scorer, "selector": selector, "schedule": schedule}.items():
            object.__setattr__(self, name, found)
        super().__post_init__()
