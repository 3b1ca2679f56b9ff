"""The engine of methods before the vision tower of a vision-language model.

The tower is given fewer patches, and the tokens of those that it did not see do not enter the decoder: from there on
all is as with any method before the decoder, the cache and its length, batches, training and the report among it. FLOPs
of the report are those of the tower's blocks and of the decoder's layers.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.base.positions import Place, place
from tokenpruner.before_decoder.engine import BeforeDecoderEngine, Pass
from tokenpruner.before_decoder.entered_tokens import as_smaller_pictures
from tokenpruner.decoder.backbone_inputs import BackboneInputs
from tokenpruner.decoder.cache_layers import PrunedPrefix
from tokenpruner.decoder.cache_state import Past
from tokenpruner.models import adapter as adapters
from tokenpruner.models.adapter import Adapter
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.transformers_api import Kwargs
from tokenpruner.report.records import Report
from tokenpruner.vision_transformer.pixel_engine import PixelEngine


class BeforeTowerEngine(BeforeDecoderEngine):
    """Gives the tower of one model fewer patches."""

    def __init__(self, adapter: Adapter, method: PixelMethod, report: Report) -> None:
        positions, self.is_renumbered = _positions(adapter, method)
        super().__init__(adapter, replace(method, positions=positions), report)
        # a picture that is numbered as a smaller one has no gaps
        self.method = replace(method, positions="compact" if self.is_renumbered else positions)

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


def engine(model: nn.Module, method: PixelMethod, report: Report) -> BeforeTowerEngine | PixelEngine:
    """The engine for a vision-language model, or for a model that is itself a vision transformer."""
    if isinstance(model, nn.Module) and any(kind.matches(model) for kind in adapters.kinds()):
        return BeforeTowerEngine(adapters.find(model), method, report)
    return PixelEngine(model, method, report)


def _positions(adapter: Adapter, method: PixelMethod) -> tuple[Place, bool]:
    """Where tokens stand, and whether those of a picture are numbered as of a smaller one."""
    if method.resizes:
        if method.positions == "calibrated":
            raise ValueError('positions="calibrated" wants tokens that leave, and a smaller picture has none that do')
        if method.positions == "keep":
            return "keep", False
        # a position of three parts is not counted anew, but that of a smaller picture is known
        return ("keep", True) if adapter.has_mrope else ("compact", False)
    kind = type(adapter.model).__name__
    return place(method.positions, method.published_positions, kind, adapter.has_mrope), False
