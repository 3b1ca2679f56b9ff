"""The entry of training: a model whose passes do in a differentiable way what a method that learns will do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar, overload

from torch import nn

from tokenpruner.api import attached
from tokenpruner.methods.atp import ATP, ATPModules
from tokenpruner.methods.ftp import FTP, FTPRouter
from tokenpruner.models import adapter as adapters
from tokenpruner.models.adapter import Adapter
from tokenpruner.models.compiled import uncompiled
from tokenpruner.training.atp_masks import MaskingEngine
from tokenpruner.training.ftp_routes import RoutingEngine

E = TypeVar("E", MaskingEngine, RoutingEngine)


@overload
def soften(
    model: nn.Module, method: ATP, modules: ATPModules, temperature: float = 10.0
) -> AbstractContextManager[MaskingEngine]: ...
@overload
def soften(
    model: nn.Module, method: FTP, modules: FTPRouter, temperature: float = 10.0
) -> AbstractContextManager[RoutingEngine]: ...
def soften(
    model: nn.Module, method: ATP | FTP, modules: ATPModules | FTPRouter, temperature: float = 10.0
) -> AbstractContextManager[MaskingEngine] | AbstractContextManager[RoutingEngine]:
    """Train `modules`: every pass of `model` inside is one of training, and `kept` of what is yielded what it left.

    with soften(model, method, modules) as masks:
        loss = model(**batch).loss + ATPLoss()(masks.kept)

    ATP has soft masks, the harder the higher the `temperature`; FTP's routes are hard and have no temperature. The
    `weights` of `method` are not read. Raises ValueError for modules of other layers, and as `prune` does.
    """
    if not temperature > 0:
        raise ValueError(f"want a temperature above 0, got {temperature!r}")
    if isinstance(method, ATP) and isinstance(modules, ATPModules):
        return _training(model, lambda adapter: MaskingEngine(adapter, method, modules, temperature))
    if isinstance(method, FTP) and isinstance(modules, FTPRouter):
        return _training(model, lambda adapter: RoutingEngine(adapter, method, modules))
    raise ValueError(
        "want a method with learned thresholds or routes, and what it learns: ATP and ATPModules, FTP and FTPRouter, "
        f"got {method!r} and {type(modules).__name__}"
    )


@contextmanager
def _training(model: nn.Module, engine_of: Callable[[Adapter], E]) -> Iterator[E]:
    with uncompiled(model) as parts:
        engine = engine_of(adapters.find(parts.model))
        with attached(engine):
            yield engine
