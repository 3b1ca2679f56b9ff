"""What the layers of a decoder and the blocks of a vision transformer cost, read off their modules.

FLOPs, a multiply and an add counted as two, of n tokens behind p cached ones:

    2 n sum of (inputs x outputs)           linear layers; of experts those that each token is sent to
    2 n c k                                 convolutions along the sequence, c channels wide, over k tokens
    2 n (n + p) h (d_qk + d_v)              scores and weighted values of h heads, the causal half not taken off

Norms, activations, embeddings and heads over the vocabulary are left out. A decoder layer that does anything else, a
recurrence, an index of its keys, an attention of its own kind, costs None: not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from tokenpruner.models.adapter import config_number
from tokenpruner.models.attention_probe import attention_of
from tokenpruner.models.vision_towers import Block

# parameters of a state that goes from token to token
RECURRENT = ("A_log", "dt_bias")
ATTENTION = ("attn", "attention")
# what an attention puts its heads together with
OUTPUTS = ("o_proj", "out_proj", "dense", "wo", "c_proj")
# to how many experts each token is sent, as routers and configs call it
SENT_TO = ("top_k", "num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts", "experts_per_token")


@dataclass(frozen=True)
class LayerCost:
    """FLOPs of a decoder layer `per_token`, and `per_pair` of a new token and one that it may see.

    `reading` are those a token of everything in front of the attention: queries, keys and values.
    """

    per_token: int
    per_pair: int
    reading: int = 0

    def flops(self, n_tokens: int, n_past: int = 0) -> int:
        """FLOPs of `n_tokens` new tokens of one row behind `n_past` cached ones."""
        return n_tokens * self.per_token + n_tokens * (n_tokens + n_past) * self.per_pair

    def skipping_flops(self, n_tokens: int, n_computed: int, n_past: int = 0) -> int:
        """Those of a layer that computes some of `n_tokens` and makes keys and values of all: mode="skip"."""
        if n_computed == n_tokens:
            return self.flops(n_tokens, n_past)
        ahead = n_computed * self.per_token + n_computed * (n_tokens + n_past) * self.per_pair
        return n_tokens * self.reading + ahead


def layer_cost(layer: nn.Module, config: object) -> LayerCost | None:
    """What a decoder layer of a model with this text `config` costs; None where it is not known."""
    found = attention_of(layer)
    parts = _known([*_linear(layer, config)])
    if found is None:
        # a convolution in place of attention is known, another attention is not
        is_other = any(word in name for name, _ in layer.named_children() for word in ATTENTION)
        return None if parts is None or is_other else LayerCost(parts, 0)
    output = _output(found[1])
    widths, reading = _width_of_heads(found[1], config), _known([*_linear(found[1], config)])
    if parts is None or reading is None or widths is None or output is None:
        return None
    out, back = output.in_features, output.out_features
    return LayerCost(parts, 2 * (widths + int(out)), reading - 2 * int(out) * int(back))  # type: ignore[arg-type]


def _output(attention: nn.Module) -> nn.Module | None:
    found = (getattr(attention, name, None) for name in OUTPUTS)
    return next((module for module in found if hasattr(module, "in_features")), None)


def _width_of_heads(attention: nn.Module, config: object) -> int | None:
    """Heads times the width of a query."""
    if getattr(attention, "indexer", None) is not None:
        return None
    own = getattr(attention, "config", config)
    heads = config_number(attention, "num_heads") or config_number(own, "num_attention_heads")
    wide = config_number(attention, "qk_head_dim") or config_number(attention, "head_dim")
    return heads * wide if heads and wide else None


def _known(parts: Sequence[int | None]) -> int | None:
    return sum(part or 0 for part in parts) if None not in parts else None


def _linear(module: nn.Module, config: object, share: float = 1.0) -> Iterator[int | None]:
    """FLOPs a token of what is below `module`, which is given the `share` of the tokens; None for what is not known."""
    own = dict(module.named_parameters(recurse=False))
    if any(name in own for name in RECURRENT):
        yield None
    elif hasattr(module, "in_features") and hasattr(module, "out_features"):
        yield round(2 * share * int(module.in_features) * int(module.out_features))  # type: ignore[arg-type]
        return
    elif isinstance(module, nn.Conv1d):
        yield 2 * module.weight.numel()
        return
    elif isinstance(module, nn.Embedding):
        return
    # all experts in one tensor; a router has one weight, a line for each of them
    experts = [value for value in own.values() if value.ndim == 3]
    if experts:
        sent = _sent_to(module, config)
        yield None if sent is None else sum(2 * sent * value.numel() // len(value) for value in experts)
    yield from (round(2 * share * value.numel()) for value in own.values() if value.ndim == 2)
    for name, child in module.named_children():
        sent = _sent_to(module, config) if isinstance(child, nn.ModuleList) and name == "experts" else None
        if isinstance(child, nn.ModuleList) and name == "experts":
            yield None if sent is None else 0
            yield from _linear(child, config, share * (sent or 0) / max(len(child), 1))
        else:
            yield from _linear(child, config, share)
    if sum(name == "experts" for child in module.children() for name, _ in child.named_children()) > 1:
        # each token goes to one group of experts or the other
        yield None


def _sent_to(module: nn.Module, config: object) -> int | None:
    """To how many experts a token is sent."""
    owners = [module, *module.children(), getattr(module, "config", config), config]
    return next((number for owner in owners for name in SENT_TO if (number := config_number(owner, name))), None)


def block_flops(block: Block, n_tokens: int) -> int:
    """FLOPs of one image of `n_tokens` in a `block` of a vision transformer."""
    linear = sum(each.in_features * each.out_features for each in block.module.modules() if isinstance(each, nn.Linear))
    return 2 * n_tokens * linear + 4 * n_tokens * n_tokens * block.queries.out_features


def tower_flops(blocks: Sequence[Block], lengths: Sequence[int]) -> int:
    """FLOPs of one image that enters each block with as many tokens as `lengths` says."""
    return sum(block_flops(block, length) for block, length in zip(blocks, lengths, strict=True))
