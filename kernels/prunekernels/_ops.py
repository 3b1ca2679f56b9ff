"""Custom operators: a primitive as one piece for torch.compile, for export and for CUDA graphs.

An operator reads no value on the host, so that nothing waits for a GPU, and a second function says of what shape and
dtype its result is. What looks at values stands around it, where `may_look` holds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

_LIBRARY = torch.library.Library("prunekernels", "DEF")

Function = Callable[..., torch.Tensor]


def operator(fake: Function) -> Callable[[Function], Function]:
    """Register a function as the operator of its name; `fake` takes the same arguments and gives an empty result.

    The schema is read from the annotations. There is no gradient: callers leave it out (`full_precision`).
    """

    def mark(function: Function) -> Function:
        name = function.__name__.strip("_")
        schema = torch.library.infer_schema(function, mutates_args=())
        _LIBRARY.define(f"{name}{schema}", tags=(torch.Tag.pt2_compliant_tag,))
        _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
        torch.library.register_fake(f"prunekernels::{name}", fake, lib=_LIBRARY)
        return getattr(torch.ops.prunekernels, name).default

    return mark


def may_look(tensor: torch.Tensor) -> bool:
    """True where values can be read: neither while a call is traced nor while a CUDA graph is captured."""
    if torch.compiler.is_compiling():
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
