"""The engine of methods before the vision tower of a vision-language model.

The tower is given fewer patches, and the tokens of those that it did not see do not enter the decoder: from there on
all is as with any method before the decoder, the cache and its length, batches, training and the report among it. FLOPs
of the report are those of the tower's blocks and of the decoder's layers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from torch import nn

from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.base.positions import Place, place
from tokenpruner.before_decoder.engine import BeforeDecoderEngine, Pass
from tokenpruner.before_decoder.entered_tokens import EnteredTokens, PatchReader, as_smaller_pictures
from tokenpruner.decoder.backbone_inputs import BackboneInputs
from tokenpruner.decoder.cache_layers import PrunedPrefix
from tokenpruner.decoder.cache_state import Past
from tokenpruner.models import adapter as adapters
from tokenpruner.models.adapter import Adapter, VisualTokenRecorder
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.transformers_api import Cache, Kwargs
from tokenpruner.report.records import Prefill, Report
from tokenpruner.vision_transformer.fixed_tower import FixedTower
from tokenpruner.vision_transformer.packed_tower import PackedTower
from tokenpruner.vision_transformer.pixel_engine import PixelEngine
from tokenpruner.vision_transformer.tower_use import TowerUse

TOWERS = ("vision_tower", "vision_model", "visual")


class Uses(threading.local):
    """The passes of the tower in this thread since the last one of the decoder."""

    def __init__(self) -> None:
        self.all: list[TowerUse] = []


class BeforeTowerEngine(BeforeDecoderEngine):
    """Gives the tower of one model fewer patches."""

    def __init__(self, adapter: Adapter, method: PixelMethod, report: Report) -> None:
        self.tower = _tower(adapter)
        self.uses = Uses()
        positions, self.is_renumbered = _positions(adapter, method)
        super().__init__(adapter, EnteredTokens(positions=positions, saw_all=method.keeps_all), report)
        self.pixels = method
        # a picture that is numbered as a smaller one has no gaps
        self.method = replace(method, positions="compact" if self.is_renumbered else positions)
        self.reader = PatchReader(adapter.merger, self.tower.module)
        if not method.keeps_all:
            self.recorder = VisualTokenRecorder(self.reader)
        self.hooked = (*self.hooked, *self.tower.hooked)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While open, every pass of the model is pruned, whichever thread runs it; then all is as it was."""
        with ExitStack() as stack:
            if not self.keeps_all:
                stack.enter_context(self.tower.pruned(self.pixels, self.acts, self._note))
            stack.enter_context(super().attached())
            yield

    def _note(self, use: TowerUse) -> None:
        self.reader.add(use.entered)
        self.uses.all.append(use)

    def _shortened(
        self, current: Pass, inputs: BackboneInputs, past: Past, kwargs: Kwargs, found: list[ImageTokens]
    ) -> Kwargs:
        """As of other methods; of pictures that were scaled down with the positions of smaller ones."""
        if not self.is_renumbered or self.keeps_all or inputs.position_ids is None:
            return super()._shortened(current, inputs, past, kwargs, found)
        positions, moved = as_smaller_pictures(inputs.position_ids, found, inputs.samples)
        changed = super()._shortened(current, replace(inputs, position_ids=positions), past, kwargs, found)
        before = current.prefix
        if before is not None:
            shift = before.shift + moved.to(before.shift.device)
            current.prefix = PrunedPrefix.of(before.mask, shift, before.n_croppable, before.differs_by_layer)
        return changed

    def _add(self, record: Prefill, selection_ms: float, prefill_ms: float, cache: Cache | None) -> None:
        uses, self.uses.all = self.uses.all, []
        if record.flops_before is not None and record.flops_after is not None:
            record = replace(
                record,
                flops_before=record.flops_before + sum(use.flops_before for use in uses),
                flops_after=record.flops_after + sum(use.flops_after for use in uses),
            )
        super()._add(record, selection_ms + sum(use.selection.milliseconds() for use in uses), prefill_ms, cache)


def engine(model: nn.Module, method: PixelMethod, report: Report) -> BeforeTowerEngine | PixelEngine:
    """The engine for a vision-language model, or for a model that is itself a vision transformer."""
    if isinstance(model, nn.Module) and any(kind.matches(model) for kind in adapters.kinds()):
        return BeforeTowerEngine(adapters.find(model), method, report)
    return PixelEngine(model, method, report)


def _tower(adapter: Adapter) -> PackedTower | FixedTower:
    """The model's vision tower; raises ValueError with what can be done where it cannot be given fewer patches."""
    name, packed = type(adapter.model).__name__, PackedTower.below(adapter.merger, adapter.backbone)
    if packed is not None:
        return packed
    for part in TOWERS:
        module = getattr(adapter.merger, part, None)
        if isinstance(module, nn.Module):
            try:
                return FixedTower(module)
            except ValueError as error:
                raise ValueError(
                    f"the vision tower of {name} cannot be given fewer patches: {error}: prune behind it, for example "
                    "with DivPrune(keep_ratio=0.5), or hand the processor a smaller picture"
                ) from error
    raise ValueError(
        f"no vision tower of {name} is known that could be given fewer patches: prune behind it, for example with "
        "DivPrune(keep_ratio=0.5), or hand the processor a smaller picture"
    )


def _positions(adapter: Adapter, method: PixelMethod) -> tuple[Place, bool]:
    """Where tokens stand, and whether those of a picture are numbered as of a smaller one."""
    if method.resizes:
        if method.positions == "keep":
            return "keep", False
        # a position of three parts is not counted anew, but that of a smaller picture is known
        return ("keep", True) if adapter.has_mrope else ("compact", False)
    kind = type(adapter.model).__name__
    return place(method.positions, method.published_positions, kind, adapter.has_mrope), False
