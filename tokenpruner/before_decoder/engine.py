"""The engine before the decoder: choose among the tokens that enter it, and keep later passes on a pruned cache right.

A pass that shows images is shortened. A pass without images on a pruned cache gets the mask and positions that
fit what the cache holds. Any other pass goes through untouched. What a pass leaves for later lies in its cache;
nothing is remembered here but the numbers for the report.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from torch import nn

from tokenpruner.base.before_decoder import Method
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.before_decoder.choice import choice_of
from tokenpruner.before_decoder.selection import Selection, Sequences
from tokenpruner.before_decoder.shortened_inputs import Backbone, behind_pruned_cache, cut_per_token, shortened
from tokenpruner.decoder import cache_state
from tokenpruner.decoder.backbone_inputs import BackboneInputs, check_arguments
from tokenpruner.decoder.cache_layers import PrunedPrefix
from tokenpruner.decoder.cache_state import Past
from tokenpruner.decoder.hooks import DecoderHooks
from tokenpruner.decoder.loss_labels import LabelCut
from tokenpruner.models.adapter import Adapter, FeatureReader
from tokenpruner.models.image_tokens import ImageTokens, with_samples
from tokenpruner.models.transformers_api import Cache, Kwargs, cache_of, cache_of_output, check_cached
from tokenpruner.report.prefill_record import Lengths
from tokenpruner.report.records import Prefill, Report
from tokenpruner.report.timing import Moment, Stopwatch, milliseconds, moment


@dataclass
class Pass:
    """One forward pass of the backbone, between its two hooks: what it will have dropped, and what was chosen."""

    cache: Cache | None
    started: Moment
    selection: Stopwatch
    removed: int = 0
    prefix: PrunedPrefix | None = None
    # what the report is made of: the choice, and the rows with it and without
    selected: Selection | None = None
    lengths: Lengths | None = None


class Local(threading.local):
    """The pass that runs in this thread."""

    current: Pass | None = None
    # which tokens of the last pass were left, for its loss
    cut: LabelCut | None = None


class BeforeDecoderEngine(DecoderHooks):
    """Prunes before the decoder."""

    def __init__(self, adapter: Adapter, method: Method | BlockMethod, report: Report) -> None:
        self.choice = choice_of(adapter, method, self._is_turn)
        super().__init__(adapter, method, report)
        # as the report tells it
        self.method: TokenMethod = method
        self.positions, self.local = method.positions, Local()
        self.hooked = (*self.hooked, *getattr(self.choice, "hooked", ()))
        self.backbone = Backbone.of(adapter.backbone, method.positions)

    def _is_turn(self) -> bool:
        # `acts` is set later
        return self.acts()

    def _reader(self, method: TokenMethod) -> FeatureReader | None:
        return self.choice.reader

    def _counted(self, record: Prefill) -> Prefill:
        return self.choice.counted(record)

    def cut(self) -> LabelCut | None:
        """Which tokens of this thread's last pass were left; None where all were."""
        return self.local.cut

    def _before_backbone(
        self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        visual, refusal = self.recorder.take(), self.call.refusal
        self.local.current, self.local.cut, self.call.refusal = None, None, None
        cache = cache_of(kwargs)
        if not self.acts() or (visual is None and not cache_state.is_pruned(cache)):
            return None
        device = self.costs.device
        current = Pass(cache, moment(device), Stopwatch(device))
        if visual is not None and not self.keeps_all:
            if refusal:
                raise ValueError(refusal)
            cache_state.check(cache, self.way_out)
        inputs = BackboneInputs.of(kwargs, self.call.attention_mask, self.keeps_all)
        past = cache_state.read(cache)
        if visual is not None and not self.keeps_all:
            check_arguments(kwargs, inputs, module.config)
        self.local.current = current
        cache_state.allow_masks(cache, True)
        changed, current.prefix = behind_pruned_cache(inputs, past)
        current.removed = past.removed
        if visual is not None:
            found = with_samples(visual.images(), inputs.samples)
            with current.selection.running():
                changed |= self._shortened(current, inputs, past, kwargs, found)
        return (args, {**kwargs, **changed}) if changed else None

    def _shortened(
        self, current: Pass, inputs: BackboneInputs, past: Past, kwargs: Kwargs, found: list[ImageTokens]
    ) -> Kwargs:
        """What the backbone gets in place of the tokens that came; nothing where all of them stay."""
        mask = inputs.masks(past)[1]
        rows = Sequences(inputs.embeds, mask, inputs.samples)
        selected = self.choice.select(rows, found)
        changed: Kwargs = {}
        left = mask
        if not selected.is_whole:
            changed, index, current.prefix = shortened(inputs, past, selected, self.positions, self.backbone)
            current.removed = past.removed + mask.shape[1] - index.shape[1]
            left = current.prefix.mask[:, past.physical :]
            changed |= cut_per_token(kwargs, selected, index, left)
            self.local.cut = LabelCut(index, left, mask.shape[1])
        n_layers = len(self.costs.layers)
        current.selected = selected
        current.lengths = Lengths(mask, [left] * n_layers, [(past.logical, past.physical)] * n_layers)
        return changed

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
        if current.prefix is not None and cache is not None:
            cache_state.commit(cache, current.removed, current.prefix)
        if current.selected is not None and current.lengths is not None:
            last = moment(self.costs.device)
            record = self.costs.record([current.selected.images], current.lengths, self.adapter.grid)
            self._add(record, current.selection.milliseconds(), milliseconds(current.started, last), cache)
