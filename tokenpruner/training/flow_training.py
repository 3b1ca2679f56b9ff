"""Training of the router of `flows`: what agreement each schedule would have, and at what price FLOPs meet a budget.

    loss    = mean over inputs and schedules of the cross entropy of sigmoid(logit_s) and agreement_s
    price_s = lambda mean share_s, the smallest lambda for which the schedules that are chosen cost the budget or less

The router learns on some inputs; others, held out, say when it has learned enough and what lambda is. Agreement is
measured by `flow_agreement`. The paper's losses are not known to us: these are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from prunekernels import budget
from tokenpruner.methods._flow_router import FlowRouter
from tokenpruner.training.flow_agreement import Agreement

# how near the smallest price that meets a budget is come to, which leaves room for rounding
TOLERANCE = 1e-4
# what all FLOPs of a prompt could ever be worth in agreement: the cheapest schedule is chosen long before
LARGEST_PRICE = 1e6


@dataclass(frozen=True)
class FlowTraining:
    """The decoder's FLOPs for a prompt are to be `budget` of the whole ones, the mean over inputs, router included.

    AdamW on all inputs at once, `held_out` of them left out, the router `width` wide.
    """

    budget: float
    width: int = 32
    steps: int = 300
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    held_out: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        budget.check_keep_ratio(self.budget)
        if self.steps < 1 or self.width < 1 or not 0 < self.held_out < 1:
            raise ValueError(f"want steps and width of at least 1 and held_out in (0, 1), got {self}")


def train_router(found: Agreement, settings: FlowTraining) -> FlowRouter:
    """A router for what was `found`; the same for the same seed.

    Raises ValueError where the budget cannot be met, and for fewer inputs than one to learn from and one held out.
    """
    n_inputs = len(found.features)
    n_held = max(1, round(settings.held_out * n_inputs))
    if n_held >= n_inputs:
        raise ValueError(f"want more than {n_held} inputs, of which {n_held} are held out, got {n_inputs}")
    order = torch.randperm(n_inputs, generator=torch.Generator().manual_seed(settings.seed))
    held, own = found.rows(order[:n_held]), found.rows(order[n_held:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        router = FlowRouter(found.schedules, found.features.shape[1], settings.width)
    _start(router, own)
    _learn(router, own, held, settings)
    with torch.no_grad():
        router.prices.copy_(prices(router, held, settings.budget))
    return router.requires_grad_(False)


def prices(router: FlowRouter, found: Agreement, wanted: float) -> torch.Tensor:
    """What each schedule has to cost in agreement, [S], so that those chosen for what was `found` cost `wanted`."""
    shares = (found.flops + router.flops) / found.whole[:, None]
    each = shares.mean(0)
    if each.min() > wanted:
        raise ValueError(f"want a budget of at least {each.min():.4g}, which the cheapest takes, got {wanted}")
    with torch.no_grad():
        agreement = router.logits(found.features).sigmoid()

    def spent(price: float) -> float:
        picks = (agreement - (price * each).to(agreement)).argmax(1, keepdim=True)
        return float(shares.gather(1, picks).mean())

    low, high = 0.0, LARGEST_PRICE
    if spent(low) <= wanted:
        return torch.zeros_like(router.prices)
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > wanted else (low, middle)
    return (high * each).to(router.prices)


def _start(router: FlowRouter, found: Agreement) -> None:
    """Begin at what all inputs alike would have."""
    last: nn.Linear = router.layers[2]  # type: ignore[assignment]
    with torch.no_grad():
        router.mean.copy_(found.features.mean(0))
        router.scale.copy_(1 / found.features.std(0, correction=0).clamp(min=1e-6))
        last.bias.copy_(found.agreement.mean(0).clamp(1e-3, 1 - 1e-3).logit())


def _learn(router: FlowRouter, own: Agreement, held: Agreement, settings: FlowTraining) -> None:
    """Leave the router as it was at the step at which it did best on what is held out."""
    optimizer = torch.optim.AdamW(
        router.layers.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    best, kept = float("inf"), router.state_dict()
    for _ in range(settings.steps):
        with torch.no_grad():
            loss = float(binary_cross_entropy_with_logits(router.logits(held.features), held.agreement))
        if loss < best:
            best, kept = loss, {name: value.clone() for name, value in router.state_dict().items()}
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(router.logits(own.features), own.agreement).backward()
        optimizer.step()
    router.load_state_dict(kept)
