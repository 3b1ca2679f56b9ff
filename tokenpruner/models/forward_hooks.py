"""Hooks with keyword arguments that may be put on and taken off while another thread runs the module.

torch notes a hook and that it wants keyword arguments one after the other, so that a call that runs meanwhile may give
it none. Such a call began before the hook was there, or ends after it was, and goes on untouched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle

Before = Callable[[nn.Module, tuple[object, ...], dict[str, object]], object]
After = Callable[[nn.Module, tuple[object, ...], dict[str, object], object], object]


def before_forward(module: nn.Module, hook: Before) -> RemovableHandle:
    """Call `hook(module, args, kwargs)` before each forward pass of `module`."""

    def called(module: nn.Module, args: tuple[object, ...], *kwargs: dict[str, object]) -> object:
        return hook(module, args, *kwargs) if kwargs else None

    return module.register_forward_pre_hook(called, with_kwargs=True)


def after_forward(module: nn.Module, hook: After) -> RemovableHandle:
    """Call `hook(module, args, kwargs, output)` behind each forward pass of `module`, without output if it raised."""

    def called(module: nn.Module, args: tuple[object, ...], *kwargs_output: object) -> object:
        return hook(module, args, *kwargs_output) if len(kwargs_output) == 2 else None  # type: ignore[arg-type]

    return module.register_forward_hook(called, with_kwargs=True, always_call=True)


@contextmanager
def around_layers(
    layers: Sequence[nn.Module], before: Callable[..., object], after: Callable[..., object]
) -> Iterator[None]:
    """While open, call `before(number, layer, args, kwargs)` and `after(number, layer, args, output)` of each layer."""
    with ExitStack() as stack:
        for number, layer in enumerate(layers):
            stack.callback(before_forward(layer, functools.partial(before, number)).remove)
            stack.callback(layer.register_forward_hook(functools.partial(after, number)).remove)
        yield
