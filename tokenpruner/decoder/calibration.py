"""The attention calibration of RESTORE (Cho et al. 2026, ICML, arXiv:2606.01711): kept tokens stand in for those gone.

    A_mn  is proportional to  exp(z_mn + b_mn),      b_mn = log(s_n (c - D(p_m - p_n))),      c = 2
    D(x)  = 2 / d  sum over j of cos(x theta_j)

z are the scores of the attention, p the positions, which kept tokens keep, theta the d / 2 frequencies of the rotary
positions and s_n how many tokens key n stands for, itself among them. At distance 0 a key has its share as it was, s_n
times, far from its query about twice that. It holds for every query and key of a row that lost tokens, text too, in
every layer and at every step; rows that lost none are as they were.

The authors' code takes s_n = N / n for each visual token in the first layer, and leaves the distance out in decoding;
the formula has neither. A merged token stands at the place of the kept one, there at the median of its group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from tokenpruner.models.decoder_layers import DecoderLayers

C = 2.0
# whose frequencies hang on how long a sequence is
CHANGING = ("dynamic", "longrope")
ADDITIVE = ("sdpa", "eager")


@dataclass(frozen=True)
class Calibration:
    """What the slots of a cache, or the tokens of a pass, say of themselves as keys, [B, S] each.

    `frequencies` [d / 2] are theta; `positions` int64, `log_sizes` float32; `is_cut` bool [B] says which rows lost
    tokens.
    """

    frequencies: torch.Tensor
    positions: torch.Tensor
    log_sizes: torch.Tensor
    is_cut: torch.Tensor

    def rows(self, index: torch.Tensor) -> Calibration:
        """That of the batch rows `index`."""
        own = (values[index] for values in (self.positions, self.log_sizes, self.is_cut))
        return Calibration(self.frequencies, *own)

    def cropped(self, count: int) -> Calibration:
        """That without the last `count` slots."""
        left = self.positions.shape[1] - count
        return replace(self, positions=self.positions[:, :left], log_sizes=self.log_sizes[:, :left])

    def followed(self, positions: torch.Tensor, log_sizes: torch.Tensor | None = None) -> Calibration:
        """That with tokens at `positions` [B, P] behind, which stand for themselves unless `log_sizes` says more."""
        sizes = torch.zeros(positions.shape, device=positions.device) if log_sizes is None else log_sizes
        both = (torch.cat([self.positions, positions], 1), torch.cat([self.log_sizes, sizes], 1))
        return Calibration(self.frequencies, *both, self.is_cut)

    def bias(self, n_queries: int) -> torch.Tensor:
        """b of the last `n_queries` tokens and all keys; [B, 1, Q, S] in float64, or what the device has."""
        dtype = torch.float32 if self.positions.device.type == "mps" else torch.float64
        angles = self.positions[..., None] * self.frequencies.to(self.positions.device, dtype)
        # the cosine of a difference, so that no table of distances is needed
        turned = torch.cat([angles.cos(), angles.sin()], -1)
        alike = turned[:, turned.shape[1] - n_queries :] @ turned.mT / len(self.frequencies)
        bias = (C - alike).log() + self.log_sizes[:, None].to(dtype)
        return (bias * self.is_cut[:, None, None])[:, None]


def rotary_frequencies(backbone: nn.Module) -> torch.Tensor:
    """theta of a text backbone; raises ValueError where its attention cannot take the calibration."""
    kind, config = type(backbone).__name__, getattr(backbone, "config")  # noqa: B009
    attention = getattr(config, "_attn_implementation", "eager")
    if attention not in ADDITIVE:
        raise ValueError(
            f'positions="calibrated" adds to the scores of the attention: want attention "sdpa" or "eager", got '
            f'"{attention}"'
        )
    layers = DecoderLayers.of(backbone)
    if not all(own.attends and own.window is None for own in layers.kinds):
        raise ValueError(f'positions="calibrated" wants full attention in every layer, {kind} has others: take "keep"')
    rotary = getattr(backbone, "rotary_emb", None)
    frequencies = getattr(rotary, "inv_freq", None)
    if not isinstance(frequencies, torch.Tensor) or getattr(rotary, "rope_type", "default") in CHANGING:
        raise ValueError(f'positions="calibrated" wants rotary positions of fixed frequencies in {kind}: take "keep"')
    return frequencies.detach().float()
