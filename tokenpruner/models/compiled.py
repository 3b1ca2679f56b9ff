"""Compiled parts of a model, run as they were written for a while.

A graph that torch.compile has made knows the hooks that were there when it was made, and never looks for others. So
what is compiled around a hook is set aside, in whichever way it was compiled:

    model.forward = torch.compile(model.forward)        model.compile()        torch.compile(model)

Parts that hold no hooked module, say the layers below a decoder that is pruned in front, stay compiled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from torch import nn

from tokenpruner.models.overrides import attribute_replaced

# where torch keeps the class of a compiled module, once anything has been compiled
DYNAMO, WRAPPER, WRITTEN = "torch._dynamo.eval_frame", "OptimizedModule", "_torchdynamo_orig_callable"


@dataclass(frozen=True)
class SetAside:
    """A `module` that runs as it was written until `until` is closed."""

    module: nn.Module
    until: ExitStack


@dataclass(frozen=True)
class Uncompiled:
    """The `model` as it was written, and what was compiled in it."""

    model: nn.Module
    parts: tuple[SetAside, ...]

    def put_back(self, hooked: Iterable[nn.Module]) -> None:
        """Compile again what holds none of the `hooked` modules."""
        inside = {id(module) for module in hooked}
        for part in self.parts:
            if not any(id(module) in inside for module in part.module.modules()):
                part.until.close()


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[Uncompiled]:
    """While open, nothing of `model` is compiled but for what is put back; then all is as it was."""
    with ExitStack() as stack:
        parts: list[SetAside] = []

        def aside(module: nn.Module, change: AbstractContextManager[None]) -> None:
            own = stack.enter_context(ExitStack())
            own.enter_context(change)
            parts.append(SetAside(module, own))

        while _is_wrapper(model):
            inner = _written(model)
            aside(inner, attribute_replaced(model, "forward", inner.__call__))
            model = inner
        for parent in [*model.modules()] if isinstance(model, nn.Module) else ():
            for name, child in [*parent.named_children()]:
                if _is_wrapper(child):
                    aside(_written(child), _child_replaced(parent, name, _written(child)))
        for module in [*model.modules()] if isinstance(model, nn.Module) else ():
            own = vars(module)
            if hasattr(own.get("forward"), WRITTEN):
                aside(module, attribute_replaced(module, "forward", getattr(own["forward"], WRITTEN)))
            if own.get("_compiled_call_impl") is not None:
                aside(module, attribute_replaced(module, "_compiled_call_impl", None))
        yield Uncompiled(model, tuple(parts))


def _is_wrapper(module: nn.Module) -> bool:
    kind = getattr(sys.modules.get(DYNAMO), WRAPPER, None)
    return kind is not None and isinstance(module, kind)


def _written(module: nn.Module) -> nn.Module:
    """What a compiled module was made of, of several such the innermost."""
    while _is_wrapper(module):
        module = module._modules["_orig_mod"]  # type: ignore[assignment]
    return module


@contextmanager
def _child_replaced(parent: nn.Module, name: str, child: nn.Module) -> Iterator[None]:
    before, parent._modules[name] = parent._modules[name], child
    try:
        yield
    finally:
        parent._modules[name] = before
