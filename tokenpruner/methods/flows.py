"""Flows, after Pruning All-Rounder (Suo et al., ICCV 2025): a router decides for each input what is pruned, and where.

Of a few schedules, tokens that leave before some decoder layers and layers that are skipped (`base.layer_flow`), each
row gets the one that a small router picks by the hidden states of an early layer (`_flow_router`). It is trained
without labels, by how far the pruned model agrees with the whole one, under a budget of FLOPs
(`tokenpruner.training.flow_training`). Within a schedule those tokens stay that the last token attends to in the layer
before the cut, as in FastV.

The paper's abstract is what we had of it: a router that organizes pruning over tokens and layers input by input,
learned with self-supervision. That it picks among schedules as a whole, what it reads, agreement as likelihood and
prices are ours. Without weights the first of `schedules` runs for every input: a fixed schedule, to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from tokenpruner.base.layer_flow import Flow, FlowMethod
from tokenpruner.base.positions import Positions
from tokenpruner.methods._flow_router import FlowRouter, checked_flows

# training works with the parts of this method too
__all__ = ["SCHEDULES", "FlowRouter", "Flows"]

# for decoders of 32 layers or so; smaller ones want their own
SCHEDULES = ("2:0.5", "full", "2:0.25", "2:0.11", "2:0.5+16:0.25", "2:0.25+24:skip+26:skip")


@dataclass(frozen=True)
class Flows(FlowMethod):
    """Paper: Suo et al. 2025, ICCV, Pruning All-Rounder (arXiv:2412.06458); by input a schedule over tokens and layers.

    `weights` is what `FlowRouter.save` wrote, its schedules with it.
    """

    schedules: tuple[str, ...] = SCHEDULES
    weights: str = ""
    # as the router is trained
    positions: Positions = field(default="keep", kw_only=True)

    reads: ClassVar[str] = "hidden states before the first cut; the last token's attention in the layer before each cut"
    cost: ClassVar[str] = "with weights 6 D W FLOP an input, W the router's width; one row of attention at each cut"
    published_count: ClassVar[str] = "not said in the abstract"

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_flows(self.schedules)

    def flows(self) -> tuple[Flow, ...]:
        """Those of the weights, else the first of `schedules`; raises ValueError where both are given and differ."""
        own = checked_flows(self.schedules)
        if not self.weights:
            return own[:1]
        flows = self.router(torch.device("cpu")).flows
        if self.schedules != type(self).schedules and own != flows:
            told, got = ("/".join(map(str, one)) for one in (own, flows))
            raise ValueError(f"want a router among {told}, got {self.weights} among {got}")
        return flows

    def route(self, features: torch.Tensor) -> torch.Tensor:
        """The schedules of best agreement less price."""
        scores = self.router(features.device)(features)
        if not bool(scores.isfinite().all()):
            raise ValueError(f"want finite hidden states where {type(self).__name__} chooses, got NaN or infinity")
        return scores.argmax(-1)

    def routing_flops(self) -> int:
        """The router's."""
        return self.router(torch.device("cpu")).flops if self.weights else 0

    def fixed(self, flow: Flow) -> Flows:
        """The same without weights."""
        return replace(self, schedules=(str(flow),), weights="")

    def router(self, device: torch.device) -> FlowRouter:
        """What `weights` hold, on `device`."""
        return FlowRouter.kept(self.weights, device)
