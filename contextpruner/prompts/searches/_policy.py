"""A small policy that keeps or drops items by their vectors, and learns from rewards (REINFORCE, Williams 1992).

    p_i = sigmoid(w2 GELU(W1 x_i)),   a_i ~ Bernoulli(p_i)
    gradient of E[R] = mean over draws of (R - mean R) / std R * grad sum_i ln p(a_i)

Only differences between the draws of one step count; x is scaled to a mean of 0 and a spread of 1 over the items.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn


class Policy:
    """A policy over `vectors` float32 [n, D], which at first keeps each with probability `share`."""

    def __init__(self, vectors: np.ndarray, share: float, *, hidden: int, learning_rate: float, seed: int) -> None:
        found = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
        # items differ by less than they have in common
        spread = found.std(0, correction=0, keepdim=True)
        self.vectors = (found - found.mean(0, keepdim=True)) / torch.where(spread > 0, spread, 1)
        draw = torch.Generator().manual_seed(seed)
        first, last = nn.Linear(found.shape[1], hidden), nn.Linear(hidden, 1)
        with torch.no_grad():
            for layer in (first, last):
                drawn = torch.randn(layer.weight.shape, generator=draw)
                layer.weight.copy_(drawn / math.sqrt(layer.in_features))
                layer.bias.zero_()
            share = min(max(share, 0.05), 0.95)
            # near the share at first, with little said of any item
            last.weight.mul_(0.1)
            last.bias.fill_(math.log(share / (1 - share)))
        self.net = nn.Sequential(first, nn.GELU(), last)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=learning_rate)

    def probabilities(self) -> np.ndarray:
        """Of keeping each item, float64 [n]."""
        with torch.inference_mode():
            return self._logits().double().sigmoid().numpy()

    def learn(self, kept: np.ndarray, rewards: np.ndarray) -> None:
        """One step from draws `kept` bool [m, n] and their rewards [m]; none where all rewards are equal."""
        spread = rewards.std()
        if not spread > 0:
            return
        advantage = torch.from_numpy((rewards - rewards.mean()) / spread).float()
        actions = torch.from_numpy(kept).float()
        logits = self._logits().expand(len(kept), -1)
        log_p = -nn.functional.binary_cross_entropy_with_logits(logits, actions, reduction="none").sum(1)
        self.optimizer.zero_grad()
        (-(advantage * log_p).mean()).backward()
        self.optimizer.step()

    def _logits(self) -> torch.Tensor:
        return self.net(self.vectors)[:, 0]
