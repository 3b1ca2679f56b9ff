"""The engine of methods before the tower of a model that is itself a vision transformer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.models import vision_towers
from tokenpruner.models.forward_hooks import after_forward, before_forward
from tokenpruner.models.overrides import NotCopied
from tokenpruner.models.transformers_api import Kwargs
from tokenpruner.report.records import KeptImage, Prefill, Report
from tokenpruner.report.timing import clock
from tokenpruner.vision_transformer.fixed_tower import FixedTower
from tokenpruner.vision_transformer.tower_use import TowerUse


class Local(threading.local):
    """When the pass of this thread began, and what it came to."""

    started: float | None = None
    use: TowerUse | None = None


class PixelEngine(NotCopied):
    """One vision transformer that is given fewer patches by one method, into one report."""

    def __init__(self, model: nn.Module, method: PixelMethod, report: Report) -> None:
        self.core = vision_towers.find(model).module
        self.tower, self.method, self.report = FixedTower(self.core), method, report
        self.hooked = (model, *self.tower.hooked)
        # whether it is this engine's turn in a thread
        self.acts: Callable[[], bool] = lambda: True
        self.local, self.lock = Local(), threading.Lock()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While open, every pass is given fewer patches, whichever thread runs it; then all is as it was."""
        with ExitStack() as stack:
            stack.callback(before_forward(self.core, self._before).remove)
            stack.callback(after_forward(self.core, self._after).remove)
            use = functools.partial(setattr, self.local, "use")
            stack.enter_context(self.tower.pruned(self.method, self._leaves_out, use))
            yield

    def _leaves_out(self) -> bool:
        return self.local.started is not None

    def _before(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        self.local.started = clock(self.tower.tower.patches.weight.device) if self.acts() else None
        self.local.use = None

    def _after(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> None:
        started, use = self.local.started, self.local.use
        self.local.started = self.local.use = None
        # the hook is called without output where the pass raised
        if started is None or use is None or output is None:
            return
        elapsed = clock(use.selection.device) - started
        n_first, n_blocks = self.tower.tower.protected, len(self.tower.tower.blocks)
        kept = [tuple(own.nonzero().flatten().tolist()) for own in use.entered.view(use.shape)]
        left = tuple(n_first + len(own) for own in kept)
        record = Prefill(
            images=tuple(KeptImage(row, 0, use.shape[1], own, use.grid) for row, own in enumerate(kept)),
            tokens_before=(n_first + use.shape[1],) * use.shape[0],
            tokens_after=left,
            selection_ms=use.selection.milliseconds(),
            prefill_ms=1000 * elapsed,
            flops_before=use.flops_before,
            flops_after=use.flops_after,
            kv_bytes_before=0,
            kv_bytes_after=0,
            layers=(left,) * n_blocks,
            part="vision transformer",
        )
        with self.lock:
            self.report.add(record)
