"""The record of one pruned pass: counts by row, and what the decoder would have cost and did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from tokenpruner.report.flops import DecoderSizes
from tokenpruner.report.records import KeptImage, Prefill


@dataclass(frozen=True)
class PrefillCosts:
    """What is needed to price a pass of a text backbone."""

    decoder: DecoderSizes
    bytes_each: int
    device: torch.device

    @classmethod
    def of(cls, backbone: nn.Module) -> PrefillCosts:
        """Read a backbone's config, dtype and device."""
        weight = next(backbone.parameters())
        return cls(DecoderSizes.from_config(backbone.config), weight.element_size(), weight.device)

    def record(
        self,
        images: Sequence[KeptImage],
        mask: torch.Tensor,
        dropped: torch.Tensor,
        past: tuple[int, int],
        seconds: float,
    ) -> Prefill:
        """The numbers of one pass: `mask` bool [B, L] before, without `dropped` bool [B, L] after.

        `past` are the cached slots without pruning and with.
        """
        n_layers = self.decoder.n_layers
        after = (mask & ~dropped).sum(1).tolist()
        return self.layered(images, mask.sum(1).tolist(), [after] * n_layers, [past] * n_layers, seconds)

    def layered(
        self,
        images: Sequence[KeptImage],
        before: Sequence[int],
        layers: Sequence[Sequence[int]],
        pasts: Sequence[tuple[int, int]],
        seconds: float,
    ) -> Prefill:
        """The same where each of the `layers` has its own tokens by row, and its own `pasts`."""
        decoder, each = self.decoder, self.bytes_each
        rows = [(n, past[1]) for own, past in zip(layers, pasts, strict=True) for n in own]
        return Prefill(
            images=tuple(images),
            tokens_before=tuple(before),
            tokens_after=tuple(layers[-1]),
            selection_ms=1000 * seconds,
            prefill_ms=None,
            flops_before=sum(decoder.layer_flops(n, past[0]) for past in pasts for n in before),
            flops_after=sum(decoder.layer_flops(n, past) for n, past in rows),
            kv_bytes_before=decoder.kv_bytes(sum(before), each),
            kv_bytes_after=sum(decoder.layer_kv_bytes(n, each) for n, _ in rows),
            layers=tuple(tuple(own) for own in layers),
        )

    def with_skipped(self, record: Prefill, pasts: Sequence[tuple[int, int]]) -> Prefill:
        """`record`, whose `layers` say how many tokens were computed, all of them having keys and values."""
        flops = sum(
            self.decoder.skipping_flops(n, own, past[1])
            for layer, past in zip(record.layers, pasts, strict=True)
            for n, own in zip(record.tokens_before, layer, strict=True)
        )
        return replace(record, flops_after=flops, kv_bytes_after=record.kv_bytes_before)
