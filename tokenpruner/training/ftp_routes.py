"""Routes: in training a layer computes all tokens, and those that pass it by are put back (FTP, Li et al. 2024).

    h' = y layer(h) + (1 - y) h,    y = [p > 1/2] in the pass, p = sigmoid(logit) for the gradient (straight through)

Keys and values are made of every token, as they are when tokens pass a layer by, so that a pass gives what pruning
with the same router gives. Gradients flow to the router through y, not through the attention that it reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import nn

from tokenpruner.methods._ftp_router import computed, factors
from tokenpruner.methods._text_attention import attention_from_text
from tokenpruner.methods.ftp import FTP, FTPRouter
from tokenpruner.models import attention_probe
from tokenpruner.models.adapter import Adapter
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.transformers_api import Kwargs
from tokenpruner.training.ftp_losses import Routed
from tokenpruner.training.training_pass import TrainingEngine, TrainingPass, at_images, attentions


@dataclass
class RoutedPass(TrainingPass):
    """A pass that notes of each layer that is routed `logits`, `attention` and y `computed` of all visual tokens, [M].

    While such a layer runs, `gate` [B, L] is y, 1 for text, and `hidden` what entered it.
    """

    logits: list[torch.Tensor] = field(default_factory=list)
    attention: list[torch.Tensor] = field(default_factory=list)
    computed: list[torch.Tensor] = field(default_factory=list)
    gate: torch.Tensor | None = None
    hidden: torch.Tensor | None = None


class RoutingEngine(TrainingEngine[RoutedPass, Routed]):
    """Lets visual tokens of one model pass layers by as `router` says."""

    def __init__(self, adapter: Adapter, method: FTP, router: FTPRouter) -> None:
        if method.schedule and method.schedule != router.schedule:
            raise ValueError(f"want a router with the schedule {method.schedule}, got one with {router.schedule}")
        if method.mode != "route":
            raise ValueError(f'want mode="route" in training, where tokens come back, got {method.mode!r}')
        default = type(method).keep_ratio
        super().__init__(adapter, replace(method, keep_ratio=default, schedule=router.schedule, weights=""))
        self.router, self.shares = router, router.schedule

    def _begun(self, real: torch.Tensor, text: torch.Tensor, images: list[ImageTokens]) -> RoutedPass:
        return RoutedPass(real, text, images)

    def _entering(
        self, current: RoutedPass, number: int, layer: nn.Module, hidden: torch.Tensor, given: Kwargs
    ) -> tuple[torch.Tensor, Kwargs] | None:
        share = self.shares[number]
        if share == 0:
            return None
        with torch.no_grad():
            inputs = attention_probe.read(layer, hidden, given, parts=attention_probe.Parts(values=False))
            looks = [
                attention_from_text(seen.attention, seen.columns, seen.text) for seen in attentions(current, inputs)
            ]
        logits = [self.router(_factors(look, share)) for look in looks]
        # hard in the pass, soft for the gradient
        soft = [own.sigmoid() for own in logits]
        gates = [computed(own.detach()) + (p - p.detach()) for own, p in zip(logits, soft, strict=True)]
        current.logits.append(torch.cat(logits))
        current.attention.append(torch.cat(looks))
        current.computed.append(torch.cat(gates))
        ones = torch.ones(current.real.shape, dtype=gates[0].dtype, device=gates[0].device)
        current.gate, current.hidden = at_images(ones, current.images, gates), hidden
        return None

    def _leaving(self, current: RoutedPass, number: int, output: object) -> object:
        gate, hidden = current.gate, current.hidden
        if gate is None or hidden is None:
            return output
        if not isinstance(output, torch.Tensor):
            raise ValueError(f"want hidden states from layer {number}, got {type(output).__name__}")
        current.gate = current.hidden = None
        gate = gate[..., None].to(output)
        return gate * output + (1 - gate) * hidden.to(output.device)

    def _ended(self, current: RoutedPass) -> Routed:
        sizes = [len(image.columns) for image in current.images]
        shares = tuple(share for share in self.shares if share > 0)
        empty = torch.zeros(sum(sizes), len(shares), device=current.real.device)
        noted = (current.logits, current.computed, current.attention)
        logits, computed, attention = (torch.stack(own, 1) if own else empty for own in noted)
        return Routed(logits, computed, attention, tuple(sizes), shares, len(self.layers.modules))


def _factors(attention: torch.Tensor, share: float) -> torch.Tensor:
    places = torch.arange(len(attention), device=attention.device)
    return factors(places, len(attention), attention, share)
