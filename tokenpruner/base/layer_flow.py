"""What a method is that decides input by input: a few schedules over tokens and layers, one of which each row gets.

    full               all tokens in all layers
    2:0.25             a quarter of each image's tokens goes on from layer 2
    2:0.5+6:0.25       half of them from layer 2, a quarter of all from layer 6
    2:0.5+5:skip       layer 5 is skipped: what comes to it leaves it as it came

A layer that a row skips is skipped for all of its tokens, text and what is generated too, and its cache holds nothing
of that row. Which schedule it is gets chosen before the first layer where one of them does anything, by the hidden
states that come there, and a row that skips layers goes on to skip them for as long as its cache lives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from prunekernels import budget
from tokenpruner.base.inside_decoder import Cost, LayerMethod, Stage
from tokenpruner.base.scorers.last_token import LastToken

FULL, SKIP = "full", "skip"
PART = re.compile(r"([0-9]{1,4}):(skip|[0-9]*\.?[0-9]+(?:e-[0-9]{1,3})?)")


@dataclass(frozen=True)
class Flow:
    """One schedule: `cuts` are layers and the share of an image's tokens that goes on there, `skipped` are layers."""

    cuts: tuple[tuple[int, float], ...] = ()
    skipped: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for layers in ([layer for layer, _ in self.cuts], self.skipped):
            if [*layers] != sorted({*layers}) or any(layer < 1 for layer in layers):
                raise ValueError(f"want the layers of a schedule to ascend from 1 or more, got {self}")
        for _, share in self.cuts:
            budget.check_keep_ratio(share)
        shares = [share for _, share in self.cuts]
        if shares != sorted({*shares}, reverse=True):
            raise ValueError(f"want fewer tokens from cut to cut, as shares of those that entered, got {self}")
        blind = [layer for layer, _ in self.cuts if layer - 1 in self.skipped]
        if blind:
            raise ValueError(
                f"layer {blind[0]}: its cut reads the attention of layer {blind[0] - 1}, which {self} skips: cut there"
            )

    @classmethod
    def parse(cls, text: str) -> Flow:
        """The schedule that `text` says; raises ValueError for what is none."""
        if text == FULL:
            return cls()
        found = [PART.fullmatch(part) for part in text.split("+")]
        parts = [(int(one[1]), one[2]) for one in found if one is not None]
        if len(parts) < len(found):
            raise ValueError(f'want a schedule such as "{FULL}", "2:0.25" or "2:0.5+5:{SKIP}", got {text!r:.80}')
        cuts = [(layer, float(share)) for layer, share in parts if share != SKIP]
        return cls(tuple(cuts), tuple(layer for layer, share in parts if share == SKIP))

    def __str__(self) -> str:
        parts = [(layer, str(share)) for layer, share in self.cuts] + [(layer, SKIP) for layer in self.skipped]
        return "+".join(f"{layer}:{what}" for layer, what in sorted(parts)) or FULL

    @property
    def keeps_all(self) -> bool:
        """True where no token leaves and no layer is skipped."""
        return not self.skipped and all(share == 1 for _, share in self.cuts)

    @property
    def layers(self) -> tuple[int, ...]:
        """Those where it does anything, ascending."""
        return tuple(sorted({*(layer for layer, _ in self.cuts), *self.skipped}))

    def check(self, n_layers: int) -> None:
        """Raise ValueError where a decoder of `n_layers` has too few."""
        if self.layers and self.layers[-1] >= n_layers:
            raise ValueError(f"want layers from 1 to {n_layers - 1} of the {n_layers} of the decoder, got {self}")

    def flops(self, costs: Sequence[Cost | None], sizes: Sequence[int], n_others: int) -> int:
        """What a row of images of `sizes` and `n_others` tokens more costs in decoder layers of `costs`.

        Raises ValueError where a layer's cost is not known.
        """
        self.check(len(costs))
        shares, left, total = dict(self.cuts), 1.0, 0
        for layer, cost in enumerate(costs):
            left = shares.get(layer, left)
            if cost is None:
                raise ValueError(f"want a decoder whose FLOPs are known, got none for layer {layer}")
            if layer not in self.skipped:
                total += cost.flops(n_others + sum(budget.n_keep(size, left) for size in sizes))
        return total


@dataclass(frozen=True)
class FlowMethod(LayerMethod):
    """The base of the methods that choose a schedule for each row; within one, the last token's attention chooses."""

    scorer = LastToken()

    def flows(self) -> tuple[Flow, ...]:
        """The schedules that there are to choose from; of a single one nothing is asked."""
        raise NotImplementedError(f"{type(self).__name__} does not write flows")

    def route(self, features: torch.Tensor) -> torch.Tensor:
        """Which schedule each of R rows gets, int64 [R], by its `row_features` float [R, 3 D]."""
        raise NotImplementedError(f"{type(self).__name__} does not write route")

    def routing_flops(self) -> int:
        """What choosing costs a row."""
        return 0

    def fixed(self, flow: Flow) -> FlowMethod:
        """The same where every row gets `flow`."""
        raise NotImplementedError(f"{type(self).__name__} does not write fixed")

    @property
    def keeps_all(self) -> bool:
        """True where no schedule drops or skips anything."""
        return all(flow.keeps_all for flow in self.flows())

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        """The cuts of every schedule; how many tokens go on is up to each row's own, where there are several."""
        flows = self.flows()
        for flow in flows:
            flow.check(n_layers)
        shares = dict(flows[0].cuts) if len(flows) == 1 else {}
        layers = sorted({layer for flow in flows for layer, _ in flow.cuts})
        return tuple(Stage(layer, shares.get(layer), layer - 1, "last") for layer in layers)


def row_features(hidden: torch.Tensor, visual: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """What a router reads of rows: means over their visual tokens and their text, and the last token.

    Of `hidden` [R, P, D], with `visual` and `text` bool [R, P], to float [R, 3 D], each third of root mean square 1.
    """
    columns = torch.arange(hidden.shape[1], device=hidden.device)
    last = torch.where(visual | text, columns, 0).amax(1)
    hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
    means = [
        hidden.masked_fill(~of[..., None], 0).sum(1) / of.sum(1, keepdim=True).clamp(min=1) for of in (visual, text)
    ]
    thirds = torch.stack([*means, hidden[torch.arange(len(hidden), device=hidden.device), last]], 1)
    return torch.nn.functional.rms_norm(thirds, thirds.shape[-1:], eps=1e-6).flatten(1)
