"""The engine before the decoder: thin the tokens that enter it, and keep later passes on a pruned cache right.

A pass that shows images is thinned. A pass without images on a pruned cache gets the mask and positions that
fit what the cache holds. Any other pass goes through untouched. What a pass leaves for later lies in its cache;
nothing is remembered here but the numbers for the report.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from torch import nn

from tokenpruner import along, labels, thin
from tokenpruner import cache as caches
from tokenpruner.adapter import Adapter
from tokenpruner.cost import size
from tokenpruner.entering import Entering, Kwargs, continued, thinned
from tokenpruner.hooked import Hooked
from tokenpruner.images import Image
from tokenpruner.measure import clock
from tokenpruner.method import Method
from tokenpruner.report import Prefill, Report
from tokenpruner.transformers_api import cache_of, cache_of_output, check_cached


@dataclass
class Pass:
    """One forward pass of the backbone, between its two hooks: what it will have dropped, and its numbers."""

    cache: caches.Cache | None
    removed: int = 0
    prefix: caches.Prefix | None = None
    record: Prefill | None = None
    started: float = 0.0


class Local(threading.local):
    """The pass that runs in this thread."""

    current: Pass | None = None
    # which tokens of the last pass were left, for its loss
    cut: labels.Cut | None = None


class Session(Hooked):
    """Prunes before the decoder."""

    def __init__(self, adapter: Adapter, method: Method, report: Report) -> None:
        super().__init__(adapter, method, report)
        self.method, self.local = method, Local()
        self.window = size(adapter.backbone.config, "sliding_window")

    def cut(self) -> labels.Cut | None:
        """Which tokens of this thread's last pass were left; None where all were."""
        return self.local.cut

    def _before_backbone(
        self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        sight, refusal = self.sighting.take(), self.door.refusal
        self.local.current, self.local.cut, self.door.refusal = None, None, None
        cache = cache_of(kwargs)
        if sight is None and not caches.is_pruned(cache):
            return None
        entering, past = Entering.of(kwargs, self.door.attention_mask), caches.read(cache)
        if sight is not None and not self.method.keeps_all:
            if refusal:
                raise ValueError(refusal)
            caches.check(cache)
            along.check(kwargs, entering.shape)
        self.local.current = current = Pass(cache)
        caches.cover(cache, True)
        changed = continued(entering, past)
        if sight is not None:
            changed |= self._thinned(entering, past, kwargs, sight.images())
            current.started = clock(self.costs.device)
        return (args, {**kwargs, **changed}) if changed else None

    def _thinned(self, entering: Entering, past: caches.Past, kwargs: Kwargs, found: list[Image]) -> Kwargs:
        """What the backbone gets in place of the tokens that came; nothing where all of them stay."""
        started, current = clock(self.costs.device), self.local.current
        if self.method.keeps_all and entering.attention_mask is not None and entering.attention_mask.ndim != 2:
            # a prepared mask of a static cache: nothing will be dropped, so that it only serves to count
            entering = replace(entering, attention_mask=None)
        mask = entering.masks(past)[1]
        choice = thin.choose(entering.embeds, mask, found, self.method, self.adapter.grid)
        changed: Kwargs = {}
        if current is None:
            return changed
        if not choice.is_whole:
            changed, index, current.prefix = thinned(entering, past, choice, self.method.positions, self.window)
            current.removed = past.removed + mask.shape[1] - index.shape[1]
            kept = current.prefix.mask[:, past.physical :]
            changed |= along.cut(kwargs, choice, index, kept)
            self.local.cut = labels.Cut(index, kept, mask.shape[1])
        elapsed = clock(self.costs.device) - started
        current.record = self.costs.record(choice, mask, (past.logical, past.physical), elapsed)
        return changed

    def _after_backbone(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> None:
        current, self.local.current = self.local.current, None
        if current is None:
            return
        caches.cover(current.cache, False)
        # the hook is called without output where the pass raised
        if output is None:
            return
        cache = cache_of_output(output) if current.cache is None else current.cache
        check_cached(kwargs, cache, module)
        if current.prefix is not None and cache is not None:
            caches.commit(cache, current.removed, current.prefix)
        if current.record is not None:
            elapsed = clock(self.costs.device) - current.started
            with self.lock:
                self.report.prefills.append(replace(current.record, prefill_ms=1000 * elapsed))
