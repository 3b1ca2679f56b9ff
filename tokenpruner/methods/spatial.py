"""Spatial augmented pruning (ATP-LLaVA, Ye et al., CVPR 2025) as an add-on to any method before the decoder.

A uniform 2-D sample of the picture stays whatever the method thinks of it, so that no part of the layout is lost;
the method fills the rest of the count: by its importance where it has one, else by what it keeps of the tokens
that were not sampled. No training is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from prunekernels import registry, select
from tokenpruner.base.before_decoder import Context, Method
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.methods import _uniform_sampling
from tokenpruner.methods.stride import Stride


@dataclass(frozen=True)
class Spatial(Method):
    """Paper: Ye et al. 2025, CVPR, ATP-LLaVA (arXiv:2412.00447); a uniform sample stays, a method fills the rest.

    A sample of the fraction `rate` first, then `method`, by its name; a sample above the count is the even grid.
    """

    keep_ratio: float = 0.125
    method: str = "divprune"
    rate: float = 0.0625

    cost: ClassVar[str] = "that of the method inside"
    published_count: ClassVar[str] = "part of ATP, no count of its own"

    def __post_init__(self) -> None:
        super().__post_init__()
        _uniform_sampling.check_rate(self.rate)
        # it reads what the method inside reads
        object.__setattr__(self, "needs", self.inner().needs)

    def inner(self) -> Method:
        """The method that fills the rest, at its defaults."""
        kind = registry.load("tokenpruner.methods", self.method, TokenMethod)
        # a sample is kept as it is: what merges would be merged with it or not at all
        if kind is Spatial or not issubclass(kind, Method) or kind().may_merge:
            raise ValueError(f"want another method before the decoder that merges nothing, got {self.method!r}")
        return kind()

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """The sample, and the best `n` - m of the others."""
        grids = (context.grid,) if context.grid else context.views
        sampled = _uniform_sampling.sampled(context.size, grids, self.rate).to(context.visual.device)
        n_left = n - int(sampled.sum())
        if n_left <= 0:
            return Stride().keep(context, n)
        inner = self.inner()
        if inner.keeps_the_most_important:
            return select.top(inner.importance(context).float().masked_fill(sampled, torch.inf), n)
        others = (~sampled).nonzero().flatten()
        sampled[others[inner.keep(replace(context, visual=context.visual[others], grid=None, views=()), n_left)]] = True
        return sampled.nonzero().flatten()
