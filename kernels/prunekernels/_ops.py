"""Primitives as torch custom ops: torch.compile and fake tensors see one call with a known result, never its inside.

The arithmetic inside is the core's own (`_precision`). An op is defined with torch's plain library calls, whose
dispatch takes 4 us of a call; `torch.library.custom_op` takes 20 to 60.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from prunekernels._precision import full_precision

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_LIBRARY = torch.library.Library("prunekernels", "FRAGMENT")


def custom_op(
    schema: str, fake: Callable[Arguments, Result]
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Make a function the op `prunekernels::name` of `schema`, "name(Tensor x, SymInt n) -> Tensor".

    `fake` takes the same arguments and returns empty tensors of the result's shapes, dtypes and device. An op
    returns new tensors, changes none that it is given, and has no gradient: its caller detaches what it hands over.
    """
    name = schema.partition("(")[0]

    def define(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        _LIBRARY.impl(name, full_precision(function), "CompositeExplicitAutograd")
        torch.library.register_fake(f"prunekernels::{name}", fake, lib=_LIBRARY)
        return getattr(torch.ops.prunekernels, name).default

    return define
