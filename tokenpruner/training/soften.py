"""The entry of training: a model whose passes do in a differentiable way what a method that learns will do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import overload

from torch import nn

from tokenpruner.api import attached
from tokenpruner.methods.atp import ATP, ATPModules
from tokenpruner.methods.ftp import FTP, FTPRouter
from tokenpruner.models import adapter as adapters
from tokenpruner.models.compiled import uncompiled
from tokenpruner.training.atp_masks import MaskingEngine
from tokenpruner.training.ftp_routes import RoutingEngine


@overload
def soften(
    model: nn.Module, method: ATP, modules: ATPModules, temperature: float = 10.0
) -> AbstractContextManager[MaskingEngine]: ...
@overload
def soften(
    model: nn.Module, method: FTP, modules: FTPRouter, temperature: float = 10.0
) -> AbstractContextManager[RoutingEngine]: ...
@contextmanager
def soften(
    model: nn.Module, method: ATP | FTP, modules: ATPModules | FTPRouter, temperature: float = 10.0
) -> Iterator[MaskingEngine | RoutingEngine]:
    """Train `modules`: every pass of `model` inside is one of training, and `kept` of what is yielded what it left.

    with soften(model, method, modules) as masks:
        loss = model(**batch).loss + ATPLoss()(masks.kept)

    ATP has soft masks, the harder the higher the `temperature`; FTP's routes are hard and have no temperature. The
    `weights` of `method` are not read. Raises ValueError for modules of other layers, and as `prune` does.
    """
    if not temperature > 0:
        raise ValueError(f"want a temperature above 0, got {temperature!r}")
    with uncompiled(model) as parts:
        adapter = adapters.find(parts.model)
        engine: MaskingEngine | RoutingEngine
        if isinstance(method, ATP) and isinstance(modules, ATPModules):
            engine = MaskingEngine(adapter, method, modules, temperature)
        elif isinstance(method, FTP) and isinstance(modules, FTPRouter):
            engine = RoutingEngine(adapter, method, modules)
        else:
            raise ValueError(
                f"want a method with learned thresholds or routes, and what it learns: ATP and ATPModules, or FTP and "
                f"FTPRouter, got {method!r} and {type(modules).__name__}"
            )
        with attached(engine):
            yield engine
