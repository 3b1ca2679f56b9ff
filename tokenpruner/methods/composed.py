"""A method before the decoder put together of parts: who scores, who picks, and what goes into what.

    composed                                                            CDPruner: scorer=relevance,selector=dpp
    composed:scorer=class_attention,selector=dpp,merging=nearest        one that nobody has published

Any scorer goes with any selector and any merging, and `positions` and the budget are those of every method. A selector
that looks at features alone, such as farthest_point, asks for no scores: its scorer is dropped. In Python a part is
named or handed over, and a method of one's own names its parts as class attributes (`tokenpruner.base.parts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokenpruner.base.before_decoder import ImageScorer, Merging, Method
from tokenpruner.base.parts import Selector, part
from tokenpruner.base.scorers.relevance import Relevance
from tokenpruner.base.selectors.dpp import Dpp


@dataclass(frozen=True)
class Composed(Method):
    """Rule: any scorer, selector and merging before the decoder, by their names."""

    keep_ratio: float = 64 / 576
    scorer: ImageScorer | str | None = Relevance()  # type: ignore[assignment]
    selector: Selector | str = Dpp()  # type: ignore[assignment]
    merging: Merging | str | None = None  # type: ignore[assignment]
    tower_layer: int = -2

    cost: ClassVar[str] = "that of its parts"
    published_count: ClassVar[str] = ""

    def __post_init__(self) -> None:
        selector = part(self.selector, Selector)
        scorer = part(self.scorer, ImageScorer) if self.scorer is not None and selector.reads_scores else None
        if scorer is None and selector.reads_scores:
            raise ValueError(f"{selector} wants a scorer, got none")
        merging = None if self.merging is None else part(self.merging, Merging)
        for name, found in {"scorer": scorer, "selector": selector, "merging": merging}.items():
            object.__setattr__(self, name, found)
        super().__post_init__()
