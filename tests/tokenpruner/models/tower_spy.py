"""A method that keeps all that it is shown of a tower, and the blocks' inputs to compute the same by hand."""

from __future__ import annotations

import dataclasses

import torch

from tokenpruner import Context, Method, prune
from tokenpruner.models.transformers_api import looks_up_attention


@dataclasses.dataclass(frozen=True)
class Spy(Method):
    """Keeps the first tokens, and all that it was shown."""

    keep_ratio: float = 0.25
    tower_layer: int = -2
    asked: tuple[str, ...] = ("class_attention", "keys")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(self.asked)

    def keep(self, context: Context, n: int) -> torch.Tensor:
        SEEN.append(context)
        return torch.arange(n)


SEEN: list[Context] = []


def shown(model, inputs, **fields):
    """What the method is shown in one pass."""
    SEEN.clear()
    with torch.no_grad(), prune(model, Spy(**fields)):
        model(**inputs)
    return [*SEEN]


def block_inputs(model, layer, run):
    """Hidden states and arguments that the attention of block `layer` of the tower gets in each call inside `run`."""
    tower = next(own for name, own in model.model.named_children() if "vis" in name)
    attention = [own for own in tower.modules() if looks_up_attention(own)][layer]
    calls = []
    handle = attention.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    with torch.no_grad():
        run()
    handle.remove()
    return attention, calls


def projections(attention):
    """Those of queries and keys, which older releases call otherwise."""
    names = ("q_proj", "k_proj") if hasattr(attention, "q_proj") else ("query", "key")
    return [getattr(attention, name) for name in names]
