"""EL2N of a sentence with an intent and a slot for each token, of Attendu and Corbeil 2023 (arXiv:2306.03208).

With e the EL2N of the intent and s_t that of the slot of token t, over tokens whose slot is not -100 (sub-words, pads):

    norm   sqrt(e^2 + sum_t s_t^2)      sum   e + sum_t s_t      mean   (e + mean_t s_t) / 2

The norm is that of all errors in one vector; a sentence without slots has e, e and e / 2.
"""

from __future__ import annotations

from typing import Literal

import torch

from prunekernels.el2n import el2n

Reduction = Literal["norm", "sum", "mean"]
IGNORED = -100


def joint_el2n(
    intent_logits: torch.Tensor,
    intents: torch.Tensor,
    slot_logits: torch.Tensor,
    slots: torch.Tensor,
    reduction: Reduction = "norm",
) -> torch.Tensor:
    """float32 [n] of `intent_logits` [n, I], `intents` [n], `slot_logits` [n, T, S] and `slots` [n, T].

    Raises ValueError for other shapes or reductions, and for labels that have no logit.
    """
    if slot_logits.ndim != 3 or slots.shape != slot_logits.shape[:2] or len(slots) != len(intents):
        shapes = [[*tensor.shape] for tensor in (intents, slot_logits, slots)]
        raise ValueError(f"want intents [n], slot logits [n, T, S] and slots [n, T], got {shapes}")
    if reduction not in ("norm", "sum", "mean"):
        raise ValueError(f"want norm, sum or mean, got {reduction!r}")
    intent, counts = el2n(intent_logits, intents), slots != IGNORED
    errors = torch.zeros(slots.shape, device=slots.device)
    errors[counts] = el2n(slot_logits[counts], slots[counts])
    if reduction == "norm":
        return torch.hypot(intent, errors.norm(dim=1))
    if reduction == "sum":
        return intent + errors.sum(1)
    return (intent + errors.sum(1) / counts.sum(1).clamp(min=1)) / 2
