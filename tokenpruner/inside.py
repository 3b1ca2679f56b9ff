"""The engine inside the decoder: cut the tokens before some layers, and give every layer behind a cut what fits it.

A backbone hands the same mask and positions to all of its layers. Hooks on the layers replace them behind a cut;
the one at a cut also gathers the hidden states. What a pass leaves for later lies in its cache, whose layers then
differ in physical length and agree in logical length. The output of the backbone is as long as what its last layer
saw: the tokens that are left, rows filled up on the left.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import nn

from tokenpruner import along, labels, probe, skipping, staging
from tokenpruner import cache as caches
from tokenpruner.adapter import Adapter
from tokenpruner.cutting import Remaining, bound, taken
from tokenpruner.entering import Entering, Kwargs
from tokenpruner.fitting import Fitting, Pass
from tokenpruner.hooked import Hooked
from tokenpruner.images import Image
from tokenpruner.layer_method import LayerMethod, Stage
from tokenpruner.layers import Layers, check_recomputed
from tokenpruner.measure import clock
from tokenpruner.numbering import Numbering
from tokenpruner.planes import Planes
from tokenpruner.report import Prefill, Report
from tokenpruner.staging import Live, Scene
from tokenpruner.transformers_api import cache_of, cache_of_output, check_cached


class Local(threading.local):
    """The pass that runs in this thread, what the last one left, and how long the prompt of generate() is."""

    current: Pass | None = None
    cut: labels.Cut | None = None
    prompt: int | None = None


class Inside(Hooked):
    """Prunes inside the decoder."""

    def __init__(self, adapter: Adapter, method: LayerMethod, report: Report) -> None:
        super().__init__(adapter, method, report)
        self.method, self.local, self.skips = method, Local(), method.mode == "skip"
        self.layers = Layers.of(adapter.backbone)
        numbering = Numbering(adapter.backbone) if method.positions == "compact" else None
        self.fitting = Fitting(self.layers, numbering)
        stages = self.layers.checked(method)
        self.stages = {stage.layer: stage for stage in stages}
        # layers that are read for a cut before a later one
        self.read_ahead = {stage.reads for stage in stages if stage.reads is not None and stage.reads < stage.layer}
        n_layers = len(self.layers.modules)
        self.first = min(self.stages, default=n_layers)
        # where each stage is over
        self.ends = [*(stage.layer for stage in stages[1:]), n_layers]

    def cut(self) -> labels.Cut | None:
        """Which tokens of this thread's last pass were left; None where all were."""
        return self.local.cut

    @contextmanager
    def attached_inside(self) -> Iterator[None]:
        """Hooks on the layers: before each of them, and behind them for planes."""
        with ExitStack() as stack:
            for number, layer in enumerate(self.layers.modules):
                before = functools.partial(self._before_layer, number)
                after = functools.partial(self._after_layer, number)
                stack.callback(layer.register_forward_pre_hook(before, with_kwargs=True).remove)
                stack.callback(layer.register_forward_hook(after).remove)
            yield

    def _guarded(self, generate: Callable[..., object]) -> Callable[..., object]:
        """`generate`, which says how long its prompt is: without a cache, every pass repeats the first one's choice."""
        guarded = super()._guarded(generate)

        @functools.wraps(generate)
        def measured(*args: object, **kwargs: object) -> object:
            before = self.local.prompt
            given = (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), kwargs.get("inputs"), *args[:1])
            self.local.prompt = max((x.shape[1] for x in given if isinstance(x, torch.Tensor)), default=None)
            try:
                return guarded(*args, **kwargs)
            finally:
                self.local.prompt = before

        return measured

    def _before_backbone(
        self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        sight, refusal = self.sighting.take(), self.door.refusal
        self.local.current, self.local.cut, self.door.refusal = None, None, None
        cache = cache_of(kwargs)
        if sight is None and not caches.is_pruned(cache):
            return None
        if caches.is_pruned(cache) and (self.skips or not caches.is_apart(cache)):
            raise ValueError(caches.APART if caches.is_apart(cache) else caches.BEFORE)
        given = kwargs
        if self.keeps_all and getattr(kwargs.get("attention_mask"), "ndim", 2) != 2:
            # a prepared mask of a static cache: nothing will be dropped, so that the pass only serves to count
            given = kwargs | {"attention_mask": None}
        entering = Entering.of(given, self.door.attention_mask)
        if sight is not None and not self.keeps_all:
            if refusal:
                raise ValueError(refusal)
            caches.check(cache)
            along.check(kwargs, entering.shape)
        pasts = tuple(caches.read_at(cache, slot) for slot in self.layers.slots)
        past = pasts[self.layers.first_attending]
        mask = entering.masks(past)[1]
        prompt = entering.shape[1] if self.local.prompt is None else self.local.prompt - past.logical
        whole = Remaining.whole(mask)
        images = [] if sight is None else sight.images()
        limit = labels.first_told(self.door.labels, images, entering.shape, mask.device).clamp(max=prompt)
        self.local.current = current = Pass(cache, entering, whole, whole, limit, pasts, caches.is_apart(cache))
        caches.cover(cache, True)
        if sight is None:
            return None
        current.live = self._entered(images, mask)
        current.started = clock(self.costs.device)
        current.planes = None if self.keeps_all or self.skips else Planes.of(kwargs, self.first)
        return None if current.planes is None else (args, kwargs | {along.PER_VISUAL[0]: None})

    def _entered(self, images: list[Image], mask: torch.Tensor) -> list[Live]:
        for image in images:
            if not self.keeps_all and not bool(mask[image.row, image.columns].all()):
                raise ValueError(f"row {image.row}: want attention_mask 1 on image tokens, got 0")
        return [Live.of(image) for image in images]

    def _before_layer(
        self, number: int, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        current = self.local.current
        if current is None or (self.keeps_all and not current.is_apart):
            return None
        check_recomputed(module)
        hidden, given = bound(module, args, kwargs)
        stage = self.stages.get(number) if current.live and not self.keeps_all else None
        if stage is not None:
            hidden = self._staged(current, stage, hidden, given)
        fitting = self._fitting(current, number, given)
        if current.live and number in self.read_ahead and not self.keeps_all:
            self._read(current, number, hidden, fitting)
        if self.skips and not current.layout.is_whole:
            current.passed_by = hidden
            hidden, fitting = skipping.computed(module, hidden, given, current.layout)
        return None if fitting is given and stage is None else ((hidden,), fitting)

    def _after_layer(self, number: int, module: nn.Module, args: tuple[object, ...], output: object) -> object:
        current = self.local.current
        adds = current is not None and current.planes is not None and number < len(current.planes.values)
        if current is None or not (adds or current.passed_by is not None):
            return output
        if not isinstance(output, torch.Tensor):
            raise ValueError(f"want hidden states from {type(module).__name__}, got {type(output).__name__}")
        if current.planes is not None and adds:
            return current.planes.added(number, output, current.layout)
        hidden, current.passed_by = current.passed_by, None
        return output if hidden is None else skipping.merged(hidden, output, current.layout)

    def _fitting(self, current: Pass, number: int, given: Kwargs) -> Kwargs:
        return given if self.skips else self.fitting.arguments(current, number, given)

    def _read(self, current: Pass, number: int, hidden: torch.Tensor, fitting: Kwargs) -> None:
        """Read the attention of layer `number`, before it writes to its cache."""
        started = clock(self.costs.device)
        past = caches.read_at(current.cache, self.layers.slots[number])
        with torch.no_grad():
            reading = probe.read(self.layers.modules[number], hidden, fitting)
        current.seen = reading, current.entering.masks(past)[0]
        current.seconds += clock(self.costs.device) - started

    def _staged(self, current: Pass, stage: Stage, hidden: torch.Tensor, given: Kwargs) -> torch.Tensor:
        """The hidden states that go on from `stage`."""
        if stage.reads == stage.layer:
            self._read(current, stage.layer, hidden, self._fitting(current, stage.layer, given))
        # tokens that are skipped stay where they are
        started, layout = clock(self.costs.device), current.whole if self.skips else current.layout
        # picks are indices: no gradient flows through them
        scene = Scene(hidden.detach(), layout, current.limit, current.seen)
        with torch.no_grad():
            chosen = staging.choose(current.live, scene, stage, self.method, self.adapter.grid)
        current.seen = None
        dropped = torch.zeros_like(layout.mask)
        for old, new in zip(current.live, chosen, strict=True):
            dropped[old.row, old.columns] = True
            dropped[new.row, new.columns] = False
        is_less = sum(len(image.kept) for image in chosen) < sum(len(image.kept) for image in current.live)
        if is_less and self.skips:
            current.skipped = dropped if current.skipped is None else dropped | current.skipped
            current.layout, _ = layout.cut(current.skipped)
        elif is_less:
            current.layout, local = layout.cut(dropped)
            columns = layout.columns(dropped)
            chosen = [image.moved(columns) for image in chosen]
            # padding holds what was dropped; a NaN there would reach the others through 0 * NaN
            hidden = taken(hidden, local, -2).masked_fill(~current.layout.mask[..., None].to(hidden.device), 0)
        current.live = chosen
        current.cuts.append((stage, current.layout))
        current.told.append(tuple(image.told(self.adapter.grid, stage.layer) for image in chosen))
        current.seconds += clock(self.costs.device) - started
        return hidden

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
        for slot, (removed, prefix) in current.lacks.items() if cache is not None else ():
            caches.commit_at(cache, slot, removed, prefix)
        layout = current.layout
        if not layout.is_whole and not self.skips:
            self.local.cut = labels.Cut(layout.index, layout.mask, layout.length)
        if current.live:
            record = self._record(current, 1000 * (clock(self.costs.device) - current.started))
            with self.lock:
                self.report.prefills.append(record)

    def _record(self, current: Pass, prefill_ms: float) -> Prefill:
        """The numbers of a pass, layer by layer."""
        before = current.whole.mask.sum(1).tolist()
        by_layer = [before] * (self.first if current.cuts else len(self.layers.modules))
        for (stage, layout), end in zip(current.cuts, self.ends, strict=False):
            by_layer += [layout.mask.sum(1).tolist()] * (end - stage.layer)
        kept = current.told[-1] if current.told else [image.told(self.adapter.grid, 0) for image in current.live]
        pasts = [(past.logical, past.physical) for past in current.pasts]
        record = self.costs.layered(kept, before, by_layer, pasts, current.seconds)
        if self.skips:
            record = self.costs.with_skipped(record, pasts)
        return replace(record, prefill_ms=prefill_ms, cuts=tuple(current.told))
