"""What a decoder and the blocks of a vision transformer cost, from their sizes and real lengths.

A decoder, by its config. FLOPs of n new tokens behind p cached ones, a multiply and an add counted as two, per layer:

    2 n (2 d a + 2 d k)        projections: queries and output (width a), keys and values (width k)
    4 n (n + p) a              scores and weighted values, the causal half not taken off
    2 n 3 d m                  gated MLP of width m

with hidden size d, a = heads x head size and k = key-value heads x head size. Embeddings, norms, the head over
the vocabulary and the vision tower are left out. KV bytes of n tokens: 2 x layers x k x n x bytes a number.

A block of a vision transformer, by its own weights. FLOPs on n tokens:

    2 n sum over its linear layers of (inputs x outputs)  +  4 n^2 a

with the attention's width a. Patch embedding, norms, poolers and heads are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from tokenpruner.models.adapter import config_number
from tokenpruner.models.vision_towers import Block


@dataclass(frozen=True)
class DecoderSizes:
    """The sizes that count; `from_config` reads them from a transformers text config."""

    n_layers: int
    hidden: int
    attention: int
    key_value: int
    mlp: int

    @classmethod
    def from_config(cls, config: object) -> DecoderSizes:
        """Read a text config; what it lacks is taken as in a plain transformer."""
        hidden, heads = _number(config, "hidden_size", 1), _number(config, "num_attention_heads", 1)
        head = _number(config, "head_dim", hidden // heads)
        key_value = _number(config, "num_key_value_heads", heads) * head
        mlp = _number(config, "intermediate_size", 4 * hidden)
        return cls(_number(config, "num_hidden_layers", 1), hidden, heads * head, key_value, mlp)

    def flops(self, n_tokens: int, n_past: int = 0) -> int:
        """FLOPs of `n_tokens` new tokens of one row behind `n_past` cached ones."""
        return self.n_layers * self.layer_flops(n_tokens, n_past)

    def layer_flops(self, n_tokens: int, n_past: int = 0) -> int:
        """The same of one layer."""
        projections = 4 * n_tokens * self.hidden * (self.attention + self.key_value)
        attention = 4 * n_tokens * (n_tokens + n_past) * self.attention
        return projections + attention + 6 * n_tokens * self.hidden * self.mlp

    def skipping_flops(self, n_tokens: int, n_computed: int, n_past: int = 0) -> int:
        """Those of a layer that computes some of `n_tokens` and makes keys and values of all: mode="skip"."""
        if n_computed == n_tokens:
            return self.layer_flops(n_tokens, n_past)
        reading = 2 * n_tokens * self.hidden * (self.attention + 2 * self.key_value)
        ahead = self.layer_flops(n_computed, n_past)
        return reading + ahead + 4 * n_computed * (n_tokens - n_computed) * self.attention

    def kv_bytes(self, n_tokens: int, bytes_each: int) -> int:
        """Bytes of the keys and values of `n_tokens`."""
        return self.n_layers * self.layer_kv_bytes(n_tokens, bytes_each)

    def layer_kv_bytes(self, n_tokens: int, bytes_each: int) -> int:
        """The same of one layer."""
        return 2 * self.key_value * n_tokens * bytes_each


def _number(config: object, name: str, default: int) -> int:
    value = config_number(config, name)
    return default if value is None else value


def block_flops(block: Block, n_tokens: int) -> int:
    """FLOPs of one image of `n_tokens` in `block`."""
    linear = sum(each.in_features * each.out_features for each in block.module.modules() if isinstance(each, nn.Linear))
    return 2 * n_tokens * linear + 4 * n_tokens * n_tokens * block.queries.out_features


def tower_flops(blocks: Sequence[Block], lengths: Sequence[int]) -> int:
    """FLOPs of one image that enters each block with as many tokens as `lengths` says."""
    return sum(block_flops(block, length) for block, length in zip(blocks, lengths, strict=True))
