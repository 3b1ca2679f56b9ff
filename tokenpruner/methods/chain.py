"""A chain of methods, before the decoder and inside it, under one budget of FLOPs.

    chain:methods=visionzip/fastv,flops_ratio=0.4
    chain:methods="divprune:n_keep=64"/"pyramiddrop:n_stages=4,n_keep=8"

What a method of the chain does not say is solved for: see `tokenpruner.base.method_chain`. `prune(model, ["visionzip",
"fastv"], flops_ratio=0.4)` is the first of the two. The report says what fraction each method kept and what the decoder
costs behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokenpruner.base.method_chain import MethodChain
from tokenpruner.base.token_method import TokenMethod


@dataclass(frozen=True)
class Chain(MethodChain):
    """Rule: several methods one after another, each at its place, under one budget of the decoder's FLOPs."""

    methods: tuple[TokenMethod | str, ...] = ("divprune", "fastv")

    cost: ClassVar[str] = "that of its methods"
