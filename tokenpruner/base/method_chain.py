"""Several methods at different places of one model, and one budget of FLOPs for all of them.

    flops_ratio = FLOPs of the decoder's layers for what is left of a row / those for all of its tokens

A method of the chain that says how many tokens it keeps does that. The others keep one and the same fraction x of what
reaches them, the largest x whose cost is within the budget, row by row:

    before or in a tower  what the method says: the budget is the decoder's
    before the decoder    n_keep(N, x) of each image's N tokens
    inside it             `profile` at x of those n: the layers behind the first cut see n x, behind a second n x^2 ...

So no method is spared for another one's sake, and counts grow with the budget. Positions are one policy of the chain:
the methods' own stay at their defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, get_args

from prunekernels import budget
from tokenpruner.base.before_decoder import Method
from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.base.inside_decoder import Cost, LayerMethod
from tokenpruner.base.layer_budget import STEPS, BudgetedLayerMethod
from tokenpruner.base.layer_flow import FlowMethod
from tokenpruner.base.positions import Place, Positions
from tokenpruner.base.token_method import TokenMethod, check_choice, method_from_text
from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.models.tower_reading import TowerNeed

# a fraction of which one token an image is left
LEAST = 1e-9
COUNTS = ("n_keep", "n_keep_row", "n_average")


class Sizes(NamedTuple):
    """The tokens of each image and frame of a row: of the `whole` picture, and those that its tower handed over."""

    whole: Sequence[int]
    entered: Sequence[int]


class Split(NamedTuple):
    """The methods of a chain for one row, and the fraction `x` that those keep which say nothing; None for none."""

    before: Method | None
    inside: LayerMethod | None
    x: float | None = None

    def layers(self, sizes: Sequence[int], n_layers: int, row: int = 0) -> list[int]:
        """How many tokens of images of `sizes` each decoder layer sees; the method inside has to know its counts."""
        left = [*sizes] if self.before is None else [*map(min, self.before.counts(sizes, row), sizes)]
        seen = [sum(left)] * n_layers
        if isinstance(self.inside, BudgetedLayerMethod):
            behind = [self.inside.counts(n, n_layers) for n in left]
            for number, stage in enumerate(self.inside.stages(n_layers)):
                total = sum(min(own[number], n) for own, n in zip(behind, left, strict=True))
                seen[stage.layer :] = [total] * (n_layers - stage.layer)
        return seen


@dataclass(frozen=True)
class MethodChain(TokenMethod):
    """The base of a chain: `methods` in the order of the model, at most one for each place, or their text forms."""

    methods: tuple[TokenMethod | str, ...] = ()
    flops_ratio: float | None = None
    positions: Positions = "auto"

    def __post_init__(self) -> None:
        made = tuple(method_from_text(one) if isinstance(one, str) else one for one in self.methods)
        object.__setattr__(self, "methods", made)
        check_choice("positions", self.positions, get_args(Positions))
        if self.positions == "calibrated":
            raise ValueError('positions="calibrated" wants one method before the decoder by itself: take "keep"')
        self._check_methods(made)
        if self.flops_ratio is not None:
            budget.check_keep_ratio(self.flops_ratio)
            self._check_budget()
        if self.positions == "published":
            _ = self.published_positions

    def _check_methods(self, made: Sequence[TokenMethod]) -> None:
        """Raise ValueError unless the methods stand at different places, in order, and leave positions to the chain."""
        if not made:
            raise ValueError("want at least one method in a chain, got none")
        for one in made:
            if not isinstance(one, BlockMethod | PixelMethod | Method | LayerMethod):
                raise ValueError(f"want methods of single places in a chain, got {one!s:.80}")
            if one.positions != type(one).positions:
                raise ValueError(f"want positions of the chain alone, got positions={one.positions} of {one}")
        if [*made] != [one for one in (self.tower, self.before, self.inside) if one is not None]:
            raise ValueError(
                "want at most one method before or inside the vision tower, one before the decoder and one inside it, "
                f"in this order, got {self}"
            )
        if self.tower is not None and self.before is not None and self.before.tower_needs()[0]:
            raise ValueError(f"{self.before} reads the vision tower, of which {self.tower} leaves a part: want another")
        if self.inside is not None and self.inside.mode != "drop":
            raise ValueError(f'want mode="drop" in a chain, got {self.inside}')
        if isinstance(self.inside, FlowMethod):
            raise ValueError(f"want {self.inside} by itself, which skips layers, got a chain of {len(made)}")

    def _check_budget(self) -> None:
        inside = self.inside
        if inside is not None and not isinstance(inside, BudgetedLayerMethod):
            raise ValueError(f"want no flops_ratio with {inside}, which decides by itself how many tokens go on")
        if isinstance(inside, BudgetedLayerMethod) and inside.flops_ratio is not None:
            raise ValueError(f"want flops_ratio of the chain alone, got {inside}")
        if not any(is_open(one) for one in (self.before, inside)):
            raise ValueError(f"want no flops_ratio where every method says how many tokens it keeps, got {self}")

    def __str__(self) -> str:
        return " + ".join(map(str, self.methods))

    @property
    def tower(self) -> BlockMethod | PixelMethod | None:
        """The method before the vision tower, or inside it."""
        return next((one for one in self.methods if isinstance(one, BlockMethod | PixelMethod)), None)

    @property
    def before(self) -> Method | None:
        """The method before the decoder."""
        return next((one for one in self.methods if isinstance(one, Method)), None)

    @property
    def inside(self) -> LayerMethod | None:
        """The method inside the decoder."""
        return next((one for one in self.methods if isinstance(one, LayerMethod)), None)

    @property
    def keeps_all(self) -> bool:
        """True where no image, however large, loses a token."""
        own = (self.tower, self.before, self.inside)
        return all(one is None or one.keeps_all or (self.flops_ratio == 1 and is_open(one)) for one in own)

    @property
    def published_positions(self) -> Place:
        """Where the authors of its methods have the tokens; raises ValueError where they do not agree."""
        known = {one.published_positions for one in (self.tower, self.before, self.inside) if one is not None}
        if len(known) > 1:
            raise ValueError(f'want positions "keep" or "compact", for the authors of {self} do not agree')
        return next(iter(known))

    @property
    def wanted_positions(self) -> Positions:
        """What is asked for: where "auto" meets a method that was trained with tokens at their places, "keep"."""
        trained = any(type(one).positions == "keep" for one in (self.before, self.inside) if one is not None)
        return "keep" if self.positions == "auto" and trained else self.positions

    def tower_needs(self) -> tuple[frozenset[TowerNeed], int]:
        """What the method before the decoder reads of the vision tower."""
        return super().tower_needs() if self.before is None else self.before.tower_needs()

    def split(self, sizes: Sizes, n_others: int, costs: Sequence[Cost | None], row: int = 0) -> Split:
        """The methods for a row of images and frames of these sizes and `n_others` tokens more, in layers of `costs`.

        Raises ValueError where the budget cannot be met, or not be told.
        """
        if self.flops_ratio is None:
            return Split(self.before, self.inside)
        known = [cost for cost in costs if cost is not None]
        if len(known) < len(costs):
            raise ValueError(f"flops_ratio={self.flops_ratio} wants a decoder whose FLOPs are known: take keep_ratio")
        budgeted = self.flops_ratio * sum(cost.flops(n_others + sum(sizes.whole)) for cost in known)

        def costs_at(x: float) -> float:
            layers = self._at(x).layers(sizes.entered, len(known), row)
            return sum(cost.flops(n_others + n) for cost, n in zip(known, layers, strict=True))

        if costs_at(LEAST) > budgeted:
            least = self.flops_ratio * costs_at(LEAST) / budgeted
            raise ValueError(f"row {row}: want flops_ratio of at least {least:.4g} for {self}, got {self.flops_ratio}")
        low, high = LEAST, 1.0
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if costs_at(middle) <= budgeted else (low, middle)
        return self._at(high if costs_at(high) <= budgeted else low)

    def _at(self, x: float) -> Split:
        before, inside = self.before, self.inside
        if before is not None and is_open(before):
            before = replace(before, keep_ratio=x)
        if isinstance(inside, BudgetedLayerMethod) and is_open(inside):
            inside = replace(inside, keep_ratio=x)
        return Split(before, inside, x)


def is_open(method: TokenMethod | None) -> bool:
    """True where a method says nothing of how many tokens it keeps."""
    if not isinstance(method, Method | BudgetedLayerMethod):
        return False
    return method.keep_ratio == type(method).keep_ratio and all(getattr(method, name, None) is None for name in COUNTS)
