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
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from tokenpruner.base.inside_decoder import LayerMethod, Stage
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.decoder import cache_state
from tokenpruner.decoder.backbone_inputs import DEEPSTACK, BackboneInputs, check_arguments
from tokenpruner.decoder.cache_state import WAY_OUT_INSIDE
from tokenpruner.decoder.hooks import DecoderHooks
from tokenpruner.decoder.kept_tokens import KeptTokens
from tokenpruner.decoder.loss_labels import LabelCut, answers
from tokenpruner.decoder.packed_rows import block_mask
from tokenpruner.inside_decoder.decoder_pass import DecoderPass, asked_columns, taken_out
from tokenpruner.inside_decoder.deepstack import DeepStack
from tokenpruner.inside_decoder.layer_arguments import bound_arguments
from tokenpruner.inside_decoder.layer_inputs import LayerInputs
from tokenpruner.inside_decoder.rotary_positions import RotaryPositions
from tokenpruner.inside_decoder.skipped_tokens import RecordingCache, computed_arguments, with_skipped
from tokenpruner.inside_decoder.stage_selection import (
    RemainingImage,
    StageInputs,
    check_real,
    checked_stages,
    select_at_stage,
)
from tokenpruner.models import attention_probe
from tokenpruner.models.adapter import Adapter
from tokenpruner.models.decoder_layers import DecoderLayers, check_keeps_cache, check_recomputed
from tokenpruner.models.forward_hooks import around_layers
from tokenpruner.models.image_tokens import with_samples
from tokenpruner.models.transformers_api import Kwargs, cache_of, cache_of_output, check_cached
from tokenpruner.report.prefill_record import Lengths
from tokenpruner.report.records import Prefill, Report
from tokenpruner.report.timing import Stopwatch, milliseconds, moment


class Local(threading.local):
    """The pass that runs in this thread, what the last one left, and how long the prompt of generate() is."""

    current: DecoderPass | None = None
    cut: LabelCut | None = None
    prompt: int | None = None


class InsideDecoderEngine(DecoderHooks):
    """Prunes inside the decoder."""

    way_out = WAY_OUT_INSIDE
    # whether rows pass whole layers by
    skips_layers = False

    def __init__(self, adapter: Adapter, method: LayerMethod, report: Report) -> None:
        super().__init__(adapter, method, report)
        self.method: TokenMethod = method
        self.inside, self.local = method, Local()
        # whether tokens pass layers by, and then one layer alone
        self.skips, self.routes = method.mode != "drop", method.mode == "route"
        self.layers = DecoderLayers.of(adapter.backbone)
        self.hooked = (*self.hooked, *self.layers.modules)
        rotary = RotaryPositions(adapter.backbone) if method.positions == "compact" else None
        self.layer_inputs = LayerInputs(self.layers, rotary)
        stages = checked_stages(self.layers, method)
        self.stages = {stage.layer: stage for stage in stages}
        # layers that are read for a cut before a later one
        self.read_ahead = {stage.reads: stage for stage in stages if stage.reads not in (None, stage.layer)}
        n_layers = len(self.layers.modules)
        self.first = min(self.stages, default=n_layers)
        # where each stage is over
        self.ends = [*(stage.layer for stage in stages[1:]), n_layers]
        self.ends = [stage.layer + 1 for stage in stages] if self.routes else self.ends

    def cut(self) -> LabelCut | None:
        """Which tokens of this thread's last pass were left; None where all were."""
        return self.local.cut

    @contextmanager
    def attached_inside(self) -> Iterator[None]:
        """Hooks on the layers: before each of them, and behind them for DeepStack."""
        with around_layers(self.layers.modules, self._before_layer, self._after_layer):
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
        visual, refusal = self.recorder.take(), self.call.refusal
        self.local.current, self.local.cut, self.call.refusal = None, None, None
        cache = cache_of(kwargs)
        if not self.acts() or (visual is None and not cache_state.is_pruned(cache)):
            return None
        cache_state.check_goes_on(cache, self.skips, self.skips_layers)
        device = self.costs.device
        started = moment(device)
        if visual is not None and not self.keeps_all:
            if refusal:
                raise ValueError(refusal)
            cache_state.check(cache, self.way_out)
        inputs = BackboneInputs.of(kwargs, self.call.attention_mask, self.keeps_all)
        if visual is not None and not self.keeps_all:
            check_arguments(kwargs, inputs, module.config)
            for layer in self.layers.modules if self.skips else ():
                check_keeps_cache(layer, self.inside.mode)
        pasts = tuple(cache_state.read_at(cache, slot) for slot in self.layers.slots)
        past = pasts[self.layers.first_attending]
        mask = inputs.masks(past)[1]
        prompt = inputs.shape[1] if self.local.prompt is None else self.local.prompt - past.logical
        whole = KeptTokens.whole(mask)
        images = [] if visual is None else with_samples(visual.images(), inputs.samples)
        columns = torch.arange(mask.shape[1], device=mask.device)
        is_prompt = ~answers(self.call.labels, images, mask, inputs.samples) & (columns < prompt)
        self.local.current = current = DecoderPass(
            cache, inputs, whole, whole, is_prompt, pasts, started, Stopwatch(device)
        )
        current.differs_by_layer = cache_state.differs_by_layer(cache)
        cache_state.allow_masks(cache, True)
        if visual is None:
            return None
        if not self.keeps_all:
            check_real(images, mask)
        current.images = current.all_images = [RemainingImage.of(image, self.inside.newlines) for image in images]
        changed: Kwargs = {}
        current.deepstack = None if self.keeps_all or self.skips else DeepStack.of(kwargs, self.first)
        if current.deepstack is not None:
            changed[DEEPSTACK[0]] = None
        if inputs.samples is not None and inputs.made_mask is None and not self.keeps_all:
            changed["attention_mask"] = block_mask(inputs.samples, mask, inputs.embeds)
        return (args, kwargs | changed) if changed else None

    def _before_layer(
        self, number: int, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        current = self.local.current
        if current is None or (self.keeps_all and not current.differs_by_layer):
            return None
        check_recomputed(module)
        hidden, given = bound_arguments(module, args, kwargs)
        entering = hidden
        if current.images and not self.keeps_all:
            hidden = self._cut_before(current, number, hidden, given)
        arguments = self._arguments(current, number, given)
        if current.images and number in self.read_ahead and not self.keeps_all:
            self._read(current, self.read_ahead[number], hidden, arguments)
        recorder, current.recorder = current.recorder, None
        if self.skips and not current.kept.is_whole:
            current.skipped_hidden = hidden
            hidden, arguments = computed_arguments(module, hidden, given, current.kept, recorder)
        return None if arguments is given and hidden is entering else ((hidden,), arguments)

    def _after_layer(self, number: int, module: nn.Module, args: tuple[object, ...], output: object) -> object:
        current = self.local.current
        adds = current is not None and current.deepstack is not None and number < len(current.deepstack.values)
        if current is None or not (adds or current.skipped_hidden is not None):
            return output
        if not isinstance(output, torch.Tensor):
            raise ValueError(f"want hidden states from {type(module).__name__}, got {type(output).__name__}")
        if current.deepstack is not None and adds:
            return current.deepstack.add(number, output, current.kept)
        hidden, current.skipped_hidden = current.skipped_hidden, None
        return output if hidden is None else with_skipped(hidden, output, current.kept)

    def _arguments(self, current: DecoderPass, number: int, given: Kwargs) -> Kwargs:
        return given if self.skips else self.layer_inputs.arguments(current, number, given)

    def _read(self, current: DecoderPass, stage: Stage, hidden: torch.Tensor, arguments: Kwargs) -> None:
        """Read the attention of the layer that `stage` reads, before it writes to its cache."""
        number = stage.layer if stage.reads is None else stage.reads
        past = cache_state.read_at(current.cache, self.layers.slots[number])
        parts, recorder = attention_probe.Parts(asked_columns(current, stage.queries), values=False), None
        # where tokens pass this very layer by, their keys and values are made here, once
        if self.skips and stage.layer == number:
            parts, recorder = attention_probe.Parts(), RecordingCache(cache_of(arguments))
        needs_gradients = recorder is not None and torch.is_grad_enabled()
        with torch.set_grad_enabled(needs_gradients), current.selection.running():
            inputs = attention_probe.read(self.layers.modules[number], hidden, arguments, recorder, parts)
        current.attention_inputs, current.recorder = (inputs, current.inputs.masks(past)[0]), recorder

    def _cut_before(self, current: DecoderPass, number: int, hidden: torch.Tensor, given: Kwargs) -> torch.Tensor:
        """The hidden states that go on into layer `number`."""
        if self.routes:
            current.come_back()
        stage = self.stages.get(number)
        if stage is None:
            return hidden
        if stage.reads == stage.layer:
            self._read(current, stage, hidden, self._arguments(current, stage.layer, given))
        with current.selection.running():
            return self._cut(current, stage, hidden)

    def _method_of(self, current: DecoderPass, row: int, sample: int) -> LayerMethod:
        """The method for a row, or a sample of a packed row."""
        return self.inside

    def _cut(self, current: DecoderPass, stage: Stage, hidden: torch.Tensor) -> torch.Tensor:
        """Let the method choose, and take out what it does not."""
        # tokens that are skipped stay where they are
        before = current.whole if self.skips else current.kept
        # picks are indices: no gradient flows through them
        stage_inputs = StageInputs(
            hidden.detach(),
            before,
            current.is_prompt,
            current.attention_inputs,
            current.inputs.samples,
            self.costs.layers,
            current.embeds() if stage.embeds else None,
        )
        methods = functools.partial(self._method_of, current)
        with torch.no_grad():
            chosen, merged = select_at_stage(current.images, stage_inputs, stage, methods, self.adapter.grid)
        current.attention_inputs = None
        drops_newlines = self.inside.newlines == "drop" and any(len(image.newlines) for image in chosen)
        dropped = torch.zeros_like(before.mask)
        for old, new in zip(current.images, chosen, strict=True):
            dropped[old.row, old.columns] = True
            dropped[new.row, new.columns] = False
            if drops_newlines:
                dropped[old.row, old.newlines] = True
        is_less = sum(len(image.kept) for image in chosen) < sum(len(image.kept) for image in current.images)
        current.images = [image.without_newlines() for image in chosen] if drops_newlines else chosen
        if (is_less or drops_newlines) and self.skips:
            current.skipped = dropped if current.skipped is None else dropped | current.skipped
            current.kept, _ = before.cut(current.skipped)
        elif is_less or drops_newlines:
            if merged is not None:
                hidden, stack = merged(hidden), current.deepstack
                current.deepstack = None if stack is None else stack.with_merged(merged, before)
            hidden = taken_out(current, dropped, hidden)
        current.cuts.append((stage, current.kept))
        current.picked.append([image.picked(stage.layer) for image in current.images])
        return hidden

    def _after_backbone(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> None:
        current, self.local.current = self.local.current, None
        if current is None:
            return
        cache_state.allow_masks(current.cache, False)
        # the hook is called without output where the pass raised
        if output is None:
            return
        cache = cache_of_output(output) if current.cache is None else current.cache
        check_cached(kwargs, cache, module)
        for slot, (removed, prefix) in current.cache_gaps.items() if cache is not None else ():
            cache_state.commit_at(cache, slot, removed, prefix)
        kept = current.kept
        if not kept.is_whole and not self.skips:
            self.local.cut = LabelCut(kept.index, kept.mask, kept.length)
        if current.images:
            last = moment(self.costs.device)
            record = self._record(current)
            self._add(record, current.selection.milliseconds(), milliseconds(current.started, last), cache)

    def _record(self, current: DecoderPass) -> Prefill:
        """The numbers of a pass, layer by layer."""
        n_layers, by_layer = len(self.layers.modules), [current.whole.mask] * len(self.layers.modules)
        for (stage, kept), end in zip(current.cuts, self.ends, strict=False):
            by_layer[stage.layer : end] = [kept.mask] * (end - stage.layer)
        pasts = [(past.logical, past.physical) for past in current.pasts]
        lengths = Lengths(current.whole.mask, by_layer[:n_layers], pasts)
        # behind the last layer all tokens are back
        whole = [[image.picked(n_layers) for image in current.all_images]] if self.routes else []
        cuts = [*current.picked, *whole] or [[image.picked(0) for image in current.images]]
        record = self.costs.record(cuts, lengths, self.adapter.grid, self.skips)
        record = replace(record, tokens_after=record.tokens_before) if self.routes else record
        return replace(record, cuts=record.cuts or (record.images,)) if current.picked else record
