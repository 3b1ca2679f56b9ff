"""The record of one pruned pass: counts by row, and what the decoder would have cost and did."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn

from tokenpruner.cost import Decoder
from tokenpruner.report import Prefill
from tokenpruner.thin import Choice


def clock(device: torch.device) -> float:
    """Seconds, once everything launched on `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True)
class Costs:
    """What is needed to price a pass of a text backbone."""

    decoder: Decoder
    bytes_each: int
    device: torch.device

    @classmethod
    def of(cls, backbone: nn.Module) -> Costs:
        """Read a backbone's config, dtype and device."""
        weight = next(backbone.parameters())
        return cls(Decoder.from_config(backbone.config), weight.element_size(), weight.device)

    def record(self, choice: Choice, mask: torch.Tensor, past: tuple[int, int], seconds: float) -> Prefill:
        """The numbers of one pass: `mask` bool [B, L] before, `past` the cached slots without pruning and with."""
        before = mask.sum(1).tolist()
        after = (mask & ~choice.dropped).sum(1).tolist()
        return Prefill(
            images=choice.images,
            tokens_before=tuple(before),
            tokens_after=tuple(after),
            selection_ms=1000 * seconds,
            prefill_ms=None,
            flops_before=sum(self.decoder.flops(n, past[0]) for n in before),
            flops_after=sum(self.decoder.flops(n, past[1]) for n in after),
            kv_bytes_before=self.decoder.kv_bytes(sum(before), self.bytes_each),
            kv_bytes_after=self.decoder.kv_bytes(sum(after), self.bytes_each),
        )
