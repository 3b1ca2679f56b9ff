"""ATP-LLaVA (Ye et al., CVPR 2025): learned thresholds decide, image by image and layer by layer, what goes on.

Behind some decoder layers a token stays that is looked at enough, S_red > theta_r (`_atp_scores`), or that a uniform
sample of the picture has, S_spatial > theta_s (`_uniform_sampling`); the thresholds are told by small trained modules
(`_atp_thresholds`; `training` has their losses). How many tokens stay is up to the data; the best one always does.
Kept tokens keep their positions. As in the paper the three cuts fit 32 layers and a mean of a quarter of the
tokens; new modules, and none at all, have thresholds of 1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, get_args

import torch

from tokenpruner.base.inside_decoder import LayerContext, LayerMethod, Stage, check_finite, check_stages
from tokenpruner.base.positions import Positions
from tokenpruner.base.token_method import Newlines
from tokenpruner.methods import _uniform_sampling
from tokenpruner.methods._atp_scores import AttentionScores, Scale
from tokenpruner.methods._atp_thresholds import ATPModules, Thresholds, untrained
from tokenpruner.models.image_layouts import Grid

# training works with the parts of this method too
__all__ = ["ATP", "ATPModules", "AttentionScores"]


@dataclass(frozen=True)
class ATP(LayerMethod):
    """Paper: Ye et al. 2025, CVPR, ATP-LLaVA (arXiv:2412.00447); learned thresholds decide how many tokens go on.

    Cuts behind the first 4, 14 and 24 layers, sampling less and less; `weights` is what `ATPModules.save` wrote.
    """

    layers: tuple[int, ...] = (4, 14, 24)
    rates: tuple[float, ...] = (0.5, 0.25, 0.0625)
    sample_weight: float = 3.0
    scale: Scale = "unit"
    weights: str = ""
    # as they were trained: tokens at their places, newlines in the text
    positions: Positions = field(default="keep", kw_only=True)
    newlines: Newlines = field(default="keep", kw_only=True)

    reads: ClassVar[str] = "queries and keys of the layer before a cut"
    cost: ClassVar[str] = "the text's rows of attention at each cut; no N x N matrix"
    published_count: ClassVar[str] = "144 of 576 on the average over 32 layers"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.rates) != len(self.layers) or not self.layers:
            raise ValueError(f"want a sampling rate for each layer, got layers={self.layers} and rates={self.rates}")
        for rate in self.rates:
            _uniform_sampling.check_rate(rate)
        if self.scale not in get_args(Scale):
            raise ValueError(f'want scale "unit" or "raw", got {self.scale!r}')

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        """A cut before each of `layers`, which reads the layer before it."""
        stages = tuple(Stage(layer, reads=layer - 1) for layer in self.layers)
        check_stages(stages, n_layers)
        self.thresholds(0, torch.device("cpu"))
        return stages

    def select(self, context: LayerContext) -> torch.Tensor:
        """The tokens whose margin is positive."""
        number, attention = self.layers.index(context.stage.layer), context.seen()
        dtype, device = torch.promote_types(attention.q.dtype, torch.float32), attention.q.device
        weight = torch.ones(context.n_tokens, dtype=dtype, device=device)
        scores = AttentionScores.of(attention, context.columns, context.text, weight)
        grids = (context.grid,) if context.grid else context.views
        uniform = self.uniform(number, context.size, grids)[context.kept.cpu()]
        margin = scores.margin(uniform, self.thresholds(number, device), self.scale)
        check_finite(margin, context, self)
        kept = margin > 0
        # an image never vanishes
        kept[margin.argmax()] = True
        return kept.nonzero().flatten()

    def uniform(self, number: int, size: int, grids: Sequence[Grid]) -> torch.Tensor:
        """S_spatial of an image's tokens at the cut `number`; float32 [size]."""
        return _uniform_sampling.scores(size, grids, self.rates[number], self.sample_weight)

    def thresholds(self, number: int, device: torch.device) -> Thresholds:
        """What tells the thresholds at the cut `number`; raises ValueError where the modules are for other layers."""
        if not self.weights:
            return untrained
        modules = ATPModules.kept(self.weights, device)
        if modules.layers != self.layers:
            raise ValueError(f"want modules for the layers {self.layers}, got {self.weights} for {modules.layers}")
        return modules.cuts[number]
