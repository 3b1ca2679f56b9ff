"""Custom operators: a primitive as one piece for torch.compile, for export and for CUDA graphs.

An operator reads no value on the host, so that nothing waits for a GPU, and a second function says of what shape and
dtype its result is. What looks at values stands around it, where `may_look` holds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_LIBRARY = torch.library.Library("prunekernels", "DEF")

# torch's own reading of annotations knows neither these spellings nor strings before torch 2.7
TYPES = {
    "torch.Tensor": "Tensor", "torch.Tensor | None": "Tensor?", "int": "SymInt", "list[int]": "SymInt[]",
    "bool": "bool", "float": "float", "str": "str",
}  # fmt: skip


def operator(
    fake: Callable[Arguments, Result],
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Register a function as the operator of its name; `fake` takes the same arguments and gives an empty result.

    The schema is read from the annotations. There is no gradient: callers leave it out (`full_precision`).
    """

    def mark(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        name = function.__name__.strip("_")
        _LIBRARY.define(name + _schema(function), tags=(torch.Tag.pt2_compliant_tag,))
        _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
        torch.library.register_fake(f"prunekernels::{name}", fake, lib=_LIBRARY)
        return getattr(torch.ops.prunekernels, name).default

    return mark


def may_look(tensor: torch.Tensor) -> bool:
    """True where values can be read: neither while a call is traced nor while a CUDA graph is captured."""
    if torch.compiler.is_compiling():
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def _schema(function: Callable[..., object]) -> str:
    """That of a function in a module with postponed annotations; a tuple of tensors is several results."""
    signature = inspect.signature(function)
    inputs = ", ".join(f"{TYPES[each.annotation]} {each.name}" for each in signature.parameters.values())
    n_results = max(signature.return_annotation.count("torch.Tensor"), 1)
    return f"({inputs}) -> ({', '.join(['Tensor'] * n_results)})"
