"""How many tokens stay where a method cuts inside the decoder, said in one of four ways.

    keep_ratio     the method's own fraction x, what its paper calls the ratio
    n_keep         so many of each image are left behind the last cut
    n_average      so many of each image on the average over all layers, as papers say "192 tokens"
    flops_ratio    the decoder's FLOPs for the row, as a fraction of those with all tokens

A method says with `profile`, or by a part, its `schedule`, what fraction of each image is left behind each of its cuts
for any x. The other three are solved for x, image by image or row by row: every profile grows with x. Fractions are of
the tokens that enter the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import budget
from tokenpruner.base.inside_decoder import LayerContext, LayerMethod, Queries, Stage
from tokenpruner.base.parts import Part
from tokenpruner.base.presets import INSIDE_DECODER, Fields
from tokenpruner.base.token_method import patches_left

STEPS = 60


@dataclass(frozen=True)
class Schedule(Part):
    """Says before which layers tokens leave, and what fraction is left there."""

    folder = "schedules"

    def stages(self, n_layers: int, x: float, queries: Queries | None) -> tuple[Stage, ...]:
        """The cuts in a decoder of `n_layers` for x in [0, 1], which read the attention of `queries`, None for none."""
        raise NotImplementedError(f"{type(self).__name__} does not write stages")


@dataclass(frozen=True)
class BudgetedLayerMethod(LayerMethod):
    """The base of the methods inside the decoder that are told how many tokens to keep."""

    keep_ratio: float = 0.5
    n_keep: int | None = None
    n_average: int | None = None
    flops_ratio: float | None = None

    presets: ClassVar[Mapping[str, Fields]] = INSIDE_DECODER

    def __post_init__(self) -> None:
        super().__post_init__()
        # a part made of wrong fields is refused here
        _ = self.schedule
        budget.check_keep_ratio(self.keep_ratio)
        if self.flops_ratio is not None:
            budget.check_keep_ratio(self.flops_ratio)
        for name in ("n_keep", "n_average"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"want {name} as a whole number of at least 1, got {value!r}")
        said = {name: getattr(self, name) for name in ("n_keep", "n_average", "flops_ratio")}
        told = [f"{name}={value}" for name, value in said.items() if value is not None]
        if self.keep_ratio != type(self).keep_ratio:
            told.insert(0, f"keep_ratio={self.keep_ratio}")
        if len(told) > 1:
            raise ValueError(f"want one of keep_ratio, {', '.join(said)}, got {' and '.join(told)}")

    @property
    def schedule(self) -> Schedule | None:
        """The part in place of `profile`."""
        return None

    @property
    def keeps_all(self) -> bool:
        """True where no image, however large, loses a token."""
        others = (self.n_keep, self.n_average, self.flops_ratio)
        return self.flops_ratio == 1 or (others == (None, None, None) and self.keep_ratio == 1)

    def profile(self, n_layers: int, x: float) -> tuple[Stage, ...]:
        """The cuts in a decoder of `n_layers` where the fraction of the method is `x` in [0, 1]."""
        if self.schedule is None:
            raise NotImplementedError(f"{type(self).__name__} does not write profile, and has no schedule")
        return self.schedule.stages(n_layers, x, None if self.scorer is None else self.scorer.queries)

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        """The cuts, whose fractions stand for themselves where no other budget is given."""
        return self.profile(n_layers, self.keep_ratio)

    def count(self, context: LayerContext) -> int:
        """How many tokens of the image are asked for behind the cut of `context`, newlines that stay among them."""
        whole, n_layers = context.n_entered + context.n_newlines, len(context.costs)
        if (self.n_keep, self.n_average, self.flops_ratio) == (None, None, None):
            return budget.n_keep(whole, _ratios([context.stage])[0])
        if self.flops_ratio is None:
            counts = self.counts(whole, n_layers)
        else:
            counts = self.counts_at(whole, n_layers, self._by_flops(context))
        return counts[[stage.layer for stage in self.stages(n_layers)].index(context.stage.layer)]

    def counts(self, whole: int, n_layers: int) -> list[int]:
        """How many of an image's `whole` tokens are left behind each cut, by any budget but that of the row's FLOPs."""
        if self.n_keep is not None:
            if self.n_keep >= whole:
                return [whole] * len(self.stages(n_layers))
            x = solved(lambda x: whole * _ratios(self.profile(n_layers, x))[-1], self.n_keep, "n_keep")
            return [*self.counts_at(whole, n_layers, x)[:-1], self.n_keep]
        x = self.keep_ratio
        if self.n_average is not None:
            x = solved(lambda x: whole * _mean(self.profile(n_layers, x), n_layers), self.n_average, "n_average")
        return self.counts_at(whole, n_layers, x)

    def counts_at(self, whole: int, n_layers: int, x: float) -> list[int]:
        """The same where the fraction of the method is `x` in [0, 1]."""
        return [budget.n_keep(whole, ratio) if ratio > 0 else 1 for ratio in _ratios(self.profile(n_layers, x))]

    def _by_flops(self, context: LayerContext) -> float:
        """The fraction at which the row costs `flops_ratio` of what it costs with all tokens."""
        costs = [cost for cost in context.costs if cost is not None]
        if len(costs) < len(context.costs):
            raise ValueError(f"flops_ratio={self.flops_ratio} wants a decoder whose FLOPs are known: take keep_ratio")
        visual, others = sum(context.row_sizes), context.n_others
        whole = sum(cost.flops(others + visual) for cost in costs)

        def spent(x: float) -> float:
            left, cuts, total = 1.0, {stage.layer: stage for stage in self.profile(len(costs), x)}, 0.0
            for number, cost in enumerate(costs):
                stage = cuts.get(number)
                left = left if stage is None or stage.keep_ratio is None else stage.keep_ratio
                total += cost.flops(others + round(left * visual))
            return total / whole

        return solved(spent, float(self.flops_ratio or 1), "flops_ratio")

    def select(self, context: LayerContext) -> torch.Tensor:
        """The tokens that go on: as many as the budget asks for."""
        place = f"image {context.image} of row {context.row}"
        n = patches_left(self.count(context), context.n_newlines, context.n_tokens, self.newlines, place)
        return torch.arange(n, device=context.kept.device) if n == context.n_tokens else self.keep(context, n)


def _ratios(stages: Sequence[Stage]) -> list[float]:
    return [1.0 if stage.keep_ratio is None else stage.keep_ratio for stage in stages]


def _mean(stages: Sequence[Stage], n_layers: int) -> float:
    """What is left of an image, the mean over all layers."""
    ends = [*(stage.layer for stage in stages[1:]), n_layers]
    behind = [ratio * (end - stage.layer) for stage, ratio, end in zip(stages, _ratios(stages), ends, strict=True)]
    return (stages[0].layer + sum(behind)) / n_layers


def solved(measure: Callable[[float], float], target: float, name: str) -> float:
    """The x in [0, 1] with measure(x) = target, which grows with x; raises ValueError where even 0 is too much."""
    least = measure(0.0)
    if target < least:
        raise ValueError(
            f"want {name} of at least {least:.4g}, which the layers before the cuts take alone, got {target:g}: cut "
            "earlier, or take a method before the decoder"
        )
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if measure(middle) < target else (low, middle)
    return high
