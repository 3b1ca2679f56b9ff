"""What the blocks of a vision transformer cost, from their own weights and real lengths.

FLOPs of one block on n tokens, a multiply and an add counted as two:

    2 n sum over its linear layers of (inputs x outputs)  +  4 n^2 a

with the attention's width a. Patch embedding, norms, poolers and heads are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from tokenpruner.towers import Block


def block_flops(block: Block, n_tokens: int) -> int:
    """FLOPs of one image of `n_tokens` in `block`."""
    linear = sum(each.in_features * each.out_features for each in block.module.modules() if isinstance(each, nn.Linear))
    return 2 * n_tokens * linear + 4 * n_tokens * n_tokens * block.queries.out_features


def tower_flops(blocks: Sequence[Block], lengths: Sequence[int]) -> int:
    """FLOPs of one image that enters each block with as many tokens as `lengths` says."""
    return sum(block_flops(block, length) for block, length in zip(blocks, lengths, strict=True))
