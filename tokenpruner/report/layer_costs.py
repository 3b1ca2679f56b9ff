"""What a decoder layer costs, read off its modules; FLOPs, a multiply and an add counted as two, of n tokens behind p:

    2 n sum of (inputs x outputs)           linear layers; of experts those that each token is sent to
    2 n c k                                 convolutions over the sequence, c channels wide, of k columns
    2 n (n + p) h (d_qk + d_v)              scores and weighted values of h heads, the causal half not taken off

Norms, activations and embeddings are left out, as torch's own counter leaves them out. A layer that does more than
that, a recurrence or an index of its keys, costs what nobody here could tell, and is told as None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tokenpruner.models.adapter import config_number
from tokenpruner.models.attention_probe import attention_of

# parameters of a state that goes from token to token
RECURRENT = ("A_log", "dt_bias")
OUTPUTS = ("o_proj", "out_proj", "dense", "wo", "c_proj")
# how many experts each token is sent to, by the names that routers and configs have for it
SENT_TO = ("top_k", "num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts", "experts_per_token", "num_selects")


@dataclass(frozen=True)
class LayerCost:
    """FLOPs of one layer: `per_token`, and `per_pair` of a new token and one that it may see."""

    per_token: int
    per_pair: int

    def flops(self, n_tokens: int, n_past: int = 0) -> int:
        """FLOPs of `n_tokens` new tokens of one row behind `n_past` cached ones."""
        return n_tokens * self.per_token + n_tokens * (n_tokens + n_past) * self.per_pair


def layer_cost(layer: nn.Module, config: object) -> LayerCost | None:
    """What a decoder layer with its model's text `config` costs; None where that cannot be told."""
    found = attention_of(layer)
    per_pair = 0
    if found is not None:
        pairs = _per_pair(found[1], config)
        if pairs is None:
            return None
        per_pair = pairs
    per_token = 0
    for part in _parts(layer, config):
        if part is None:
            return None
        per_token += part
    return LayerCost(per_token, per_pair)


def _per_pair(attention: nn.Module, config: object) -> int | None:
    """FLOPs of a score and a weighted value, all heads together."""
    if getattr(attention, "indexer", None) is not None:
        return None
    output = next((getattr(attention, name) for name in OUTPUTS if hasattr(getattr(attention, name, None), "in_features")), None)
    heads = next(
        (number for number in (config_number(attention, name) for name in ("num_heads", "num_attention_heads")) if number),
        config_number(getattr(attention, "config", config), "num_attention_heads"),
    )
    wide = config_number(attention, "qk_head_dim") or config_number(attention, "head_dim")
    if output is None or not heads or not wide:
        return None
    return 2 * (heads * wide + output.in_features)


def _parts(module: nn.Module, config: object, share: float = 1.0) -> Iterator[int | None]:
    """FLOPs a token of the modules below `module`, to each of which the `share` of the tokens goes."""
    own = dict(module.named_parameters(recurse=False))
    if any(name in own for name in RECURRENT):
        yield None
    elif hasattr(module, "in_features") and hasattr(module, "out_features"):
        yield round(2 * share * module.in_features * module.out_features)
        return
    elif isinstance(module, nn.Conv1d):
        yield 2 * module.weight.numel()
        return
    wide = {name: value for name, value in own.items() if value.ndim >= 2 and not isinstance(module, nn.Embedding)}
    experts = [value for value in wide.values() if value.ndim == 3]
    if experts:
        sent = _sent_to(module, config)
        yield None if sent is None else sum(2 * sent * value.numel() // len(value) for value in experts)
    # routers have one weight, a line for each expert
    yield from (round(2 * share * value.numel()) for value in wide.values() if value.ndim == 2)
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList) and name == "experts":
            sent = _sent_to(module, config)
            yield None if sent is None else 0
            yield from _parts(child, config, share * (sent or 0) / max(len(child), 1))
        else:
            yield from _parts(child, config, share)


def _sent_to(module: nn.Module, config: object) -> int | None:
    """How many experts a token is sent to."""
    owners = [module, *module.children(), getattr(module, "config", config), config]
    return next((number for owner in owners for name in SENT_TO if (number := config_number(owner, name))), None)
