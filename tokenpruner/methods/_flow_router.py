"""The router of `flows`: from hidden states of an early layer, how well each schedule would do.

    agreement_s = sigmoid(MLP((f - mean) scale)_s)       f: `row_features`, 3 D numbers of an input
    schedule    = argmax over s of agreement_s - price_s       of equal ones the first

Agreement is how likely the pruned model finds the answer that the whole one gives, of what that one finds; a price is
what a schedule costs, in agreement (`tokenpruner.training.flow_training`). A new router finds all schedules equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from tokenpruner.base.layer_flow import Flow
from tokenpruner.methods._learned_weights import LearnedModule, checked_width

# what may stand in a file
MOST_INPUTS, MOST_SCHEDULES = 65536, 64


class FlowRouter(LearnedModule):
    """Chooses among `flows` for inputs of which it reads `inputs` numbers, three times the width of hidden states."""

    file_name = "flows.safetensors"
    words = ("inputs", "schedules", "width")

    def __init__(self, schedules: Sequence[str], inputs: int, width: int = 32) -> None:
        super().__init__()
        self.flows = checked_flows(schedules)
        self.inputs, self.width = inputs, width
        last = nn.Linear(width, len(self.flows))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.GELU(), last)
        # set behind the training, not by it
        self.mean, self.scale = (nn.Parameter(fill(inputs), requires_grad=False) for fill in (torch.zeros, torch.ones))
        self.prices = nn.Parameter(torch.zeros(len(self.flows)), requires_grad=False)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Those of the agreement, [R, S], for `features` [R, inputs]."""
        if features.shape[-1] != self.inputs:
            raise ValueError(f"want a router for {features.shape[-1]} numbers an input, got one for {self.inputs}")
        logits: torch.Tensor = self.layers((features.to(self.mean) - self.mean) * self.scale)
        return logits

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Agreement less price, [R, S], for `features` [R, inputs]."""
        return self.logits(features).sigmoid() - self.prices

    @property
    def flops(self) -> int:
        """Those of one input."""
        return 2 * self.width * (self.inputs + len(self.flows))

    def header(self) -> Mapping[str, str]:
        """The schedules, such as full/2:0.25, and the sizes."""
        sizes = {"inputs": str(self.inputs), "width": str(self.width)}
        return {"schedules": "/".join(map(str, self.flows)), **sizes}

    @classmethod
    def of_header(cls, file: Path, header: Mapping[str, str]) -> FlowRouter:
        """A new router among those schedules, of those sizes."""
        width, inputs = checked_width(file, header["width"]), header["inputs"]
        if not re.fullmatch("[0-9]{1,5}", inputs) or not 1 <= int(inputs) <= MOST_INPUTS:
            raise ValueError(f"{file}: want inputs from 1 to {MOST_INPUTS}, got {inputs!a:.80}")
        try:
            return cls(header["schedules"].split("/"), int(inputs), width)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None


def checked_flows(schedules: Sequence[str]) -> tuple[Flow, ...]:
    """The schedules; raises ValueError unless they are distinct, and at least one."""
    if not 1 <= len(schedules) <= MOST_SCHEDULES:
        raise ValueError(f"want 1 to {MOST_SCHEDULES} schedules, got {len(schedules)}")
    flows = tuple(Flow.parse(one) for one in schedules)
    if len({*flows}) < len(flows):
        raise ValueError(f"want distinct schedules, got {'/'.join(schedules):.200}")
    return flows
