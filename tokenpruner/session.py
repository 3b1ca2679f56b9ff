"""The hooks of `prune`: thin the tokens that enter the text backbone, and keep later passes on a pruned cache right.

A pass that shows images is thinned. A pass without images on a pruned cache gets the mask and positions that
fit what the cache holds. Any other pass goes through untouched. What a pass leaves for later lies in its cache;
nothing is remembered here but the numbers for the report.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn

from tokenpruner import along, labels, thin
from tokenpruner import cache as caches
from tokenpruner.adapter import Adapter, Sighting
from tokenpruner.entering import Entering, Kwargs, continued, thinned
from tokenpruner.images import Image
from tokenpruner.measure import Costs, clock
from tokenpruner.method import Method
from tokenpruner.overrides import overridden
from tokenpruner.report import Prefill, Report


@dataclass
class Pass:
    """One forward pass of the backbone, between its two hooks: what it will have dropped, and its numbers."""

    cache: caches.Cache | None
    removed: int = 0
    prefix: caches.Prefix | None = None
    record: Prefill | None = None
    started: float = 0.0


class Local(threading.local):
    """The pass that runs in this thread, and why it could not be pruned if it had images."""

    current: Pass | None = None
    refusal: str | None = None
    # the mask that the model around the backbone was given
    attention_mask: object = None
    # which tokens of the last pass were left, for its loss
    cut: labels.Cut | None = None


class Session:
    """One model being pruned by one method into one report."""

    def __init__(self, adapter: Adapter, method: Method, report: Report) -> None:
        self.adapter, self.method, self.report = adapter, method, report
        self.core = adapter.backbone
        self.sighting, self.local, self.lock = Sighting(), Local(), threading.Lock()
        self.costs = Costs.of(adapter.backbone)
        self.window: int | None = getattr(adapter.backbone.config, "sliding_window", None)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While open, every pass of the model is pruned, whichever thread runs it; then all is as it was."""
        model, merger, backbone = self.adapter.model, self.adapter.merger, self.adapter.backbone
        with ExitStack() as stack:
            stack.enter_context(self.adapter.watch(self.sighting))
            for handle in (
                model.register_forward_pre_hook(self._before_model, with_kwargs=True),
                merger.register_forward_pre_hook(self._before_merger, with_kwargs=True),
                merger.register_forward_hook(self._after_merger, with_kwargs=True, always_call=True),
                backbone.register_forward_pre_hook(self._before_backbone, with_kwargs=True),
                backbone.register_forward_hook(self._after_backbone, with_kwargs=True, always_call=True),
            ):
                stack.callback(handle.remove)
            stack.enter_context(labels.watched(model, backbone, lambda: self.local.cut))
            if hasattr(model, "generate"):
                stack.enter_context(overridden(model, "generate", self._guarded))
            yield

    def _guarded(self, generate: Callable[..., object]) -> Callable[..., object]:
        """`generate`, refused before it starts where hooks cannot work: masks made ahead, prompts in pieces."""
        model = self.adapter.model

        @functools.wraps(generate)
        def guarded(*args: object, **kwargs: object) -> object:
            has_images = any(name.startswith("pixel_values") or name == "mm_encoder_outputs" for name in kwargs)
            if has_images and not self.method.keeps_all:
                config = kwargs.get("generation_config", args[1] if len(args) > 1 else None)
                config = getattr(model, "generation_config", None) if config is None else config
                cache = kwargs.get("cache_implementation", getattr(config, "cache_implementation", None))
                chunk = kwargs.get("prefill_chunk_size", getattr(config, "prefill_chunk_size", None))
                if isinstance(cache, str) and "static" in cache:
                    raise ValueError(f"cache_implementation={cache!r}: {caches.STATIC}")
                if chunk is not None:
                    # an image may be cut in two
                    got = f"got prefill_chunk_size={chunk}"
                    raise ValueError(f"want the prompt in one piece, {got}: leave it out, or {caches.WAY_OUT}")
            return generate(*args, **kwargs)

        return guarded

    def _before_model(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        logits_to_keep = kwargs.get("logits_to_keep")
        self.local.refusal = None
        if isinstance(logits_to_keep, torch.Tensor):
            self.local.refusal = "want logits_to_keep as a count: indices change when tokens are dropped"
        elif logits_to_keep and kwargs.get("labels") is not None:
            self.local.refusal = f"want all logits where there are labels, got logits_to_keep={logits_to_keep}"

    def _before_merger(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        self.local.attention_mask = kwargs.get("attention_mask")
        # a mask may be made from the cache here, ahead of the backbone, which then gets another one
        caches.cover(_cache(kwargs), True)

    def _after_merger(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> None:
        self.local.attention_mask = None
        caches.cover(_cache(kwargs), False)

    def _before_backbone(
        self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        sight, refusal = self.sighting.take(), self.local.refusal
        self.local.current, self.local.refusal, self.local.cut = None, None, None
        cache = _cache(kwargs)
        if sight is None and not caches.is_pruned(cache):
            return None
        entering, past = Entering.of(kwargs, self.local.attention_mask), caches.read(cache)
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
        cache = getattr(output, "past_key_values", None) if current.cache is None else current.cache
        if current.prefix is not None and cache is not None:
            caches.commit(cache, current.removed, current.prefix)
        if current.record is not None:
            elapsed = clock(self.costs.device) - current.started
            with self.lock:
                self.report.prefills.append(replace(current.record, prefill_ms=1000 * elapsed))


def _cache(kwargs: Kwargs) -> caches.Cache | None:
    cache = kwargs.get("past_key_values")
    return cache if isinstance(cache, caches.Cache) else None
