"""Soft masks: in training no token is dropped, it is looked at less (ATP-LLaVA, Ye et al., CVPR 2025).

    M = sigmoid(temperature * margin),    attention behind the cut:  softmax(scores + log M)

Multiplied into the weights ahead of their sum, masks that become hard (temperature to infinity) give exactly what
dropping gives, which is what runs later; multiplied behind the softmax they would leave the other weights too
small. The masks of several cuts multiply, and so do they in what a token is judged by. The text that judges ends
before the first label behind the images: what the model shall learn to say is not there yet when it chooses.
A sliding window counts the tokens that are there, which are all of them here and fewer once tokens are dropped.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from tokenpruner.api import attached
from tokenpruner.decoder import cache_state
from tokenpruner.decoder.backbone_inputs import BackboneInputs
from tokenpruner.decoder.cache_state import Past
from tokenpruner.decoder.hooks import DecoderHooks
from tokenpruner.decoder.loss_labels import LabelCut, answers
from tokenpruner.inside_decoder.layer_arguments import bound_arguments
from tokenpruner.inside_decoder.stage_selection import checked_stages
from tokenpruner.methods.atp import ATP, ATPModules, AttentionScores
from tokenpruner.models import adapter as adapters
from tokenpruner.models import attention_probe
from tokenpruner.models.adapter import Adapter
from tokenpruner.models.attention import Attention, causal
from tokenpruner.models.attention_probe import AttentionInputs, attention_of_row
from tokenpruner.models.compiled import uncompiled
from tokenpruner.models.decoder_layers import DecoderLayers, check_recomputed
from tokenpruner.models.forward_hooks import before_forward
from tokenpruner.models.image_tokens import ImageTokens, views_of
from tokenpruner.models.transformers_api import Kwargs, cache_of, checkpoint_is_reentrant
from tokenpruner.report.records import Report
from tokenpruner.training.atp_losses import Kept


@dataclass
class Pass:
    """One forward pass: which tokens are `real` and which are the `text` that has a say, bool [B, L]; its images.

    The log masks float [B, L] `masks` hold behind the last cut, `coming` behind the next one; `counts` are tokens
    that are left, [images] a cut.
    """

    real: torch.Tensor
    text: torch.Tensor
    images: list[ImageTokens]
    masks: torch.Tensor | None = None
    coming: torch.Tensor | None = None
    counts: list[torch.Tensor] = field(default_factory=list)
    dtype: torch.dtype = torch.float32


class Local(threading.local):
    """The pass that runs in this thread, and what the last one kept."""

    current: Pass | None = None
    kept: Kept | None = None


class SoftMaskEngine(DecoderHooks):
    """Masks the visual tokens of one model by the margins of `method` with `modules`."""

    def __init__(self, adapter: Adapter, method: ATP, modules: ATPModules, temperature: float) -> None:
        super().__init__(adapter, method, Report())
        self.method, self.modules, self.temperature, self.local = method, modules, temperature, Local()
        self.layers = DecoderLayers.of(adapter.backbone)
        self.cuts = {stage.layer: number for number, stage in enumerate(checked_stages(self.layers, method))}
        if any(kind.is_flash for kind in self.layers.kinds):
            raise ValueError('want attention "sdpa" or "eager", which take a mask of numbers, got flash attention')

    @property
    def kept(self) -> Kept:
        """What the masks of this thread's last pass with images left."""
        if self.local.kept is None:
            raise ValueError("want a forward pass first, got none in this thread")
        return self.local.kept

    def cut(self) -> LabelCut | None:
        """None: all tokens stay."""
        return None

    @contextmanager
    def attached_inside(self) -> Iterator[None]:
        """A hook before each layer."""
        with ExitStack() as stack:
            for number, layer in enumerate(self.layers.modules):
                before = functools.partial(self._before_layer, number)
                stack.callback(before_forward(layer, before).remove)
            yield

    def _guarded(self, generate: Callable[..., object]) -> Callable[..., object]:
        """No `generate` with soft masks."""

        @functools.wraps(generate)
        def refused(*args: object, **kwargs: object) -> object:
            raise ValueError(
                "want no generate() with soft masks: save the modules and use `with prune(model, ATP(...))`"
            )

        return refused

    def _before_backbone(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        visual = self.recorder.take()
        self.local.current, self.local.kept = None, None
        if cache_state.read(cache_of(kwargs)).logical:
            raise ValueError("want whole sequences with soft masks, got a cache that holds tokens")
        backbone_inputs = BackboneInputs.of(kwargs, self.call.attention_mask)
        real = backbone_inputs.masks(Past())[1]
        images = [] if visual is None else visual.images()
        for image in images:
            if not bool(real[image.row, image.columns].all()):
                raise ValueError(f"row {image.row}: want attention_mask 1 on image tokens, got 0")
        if backbone_inputs.samples is not None:
            raise ValueError("want one sample a row with soft masks, got packed rows: give each a row of its own")
        text = real & ~answers(self.call.labels, images, real)
        for image in images:
            text[image.row, image.columns] = False
            text[image.row, image.newlines] = False
        self.local.current = Pass(real, text, images)

    def _before_layer(
        self, number: int, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        current = self.local.current
        if current is None or not current.images:
            return None
        _check_checkpointing(module)
        hidden, given = bound_arguments(module, args, kwargs)
        if number in self.cuts:
            current.masks = current.coming
        if number + 1 in self.cuts:
            self._judge(current, self.cuts[number + 1], attention_probe.read(module, hidden, given))
        if current.masks is None:
            return None
        return (hidden,), given | {"attention_mask": with_log_masks(given.get("attention_mask"), current)}

    def _judge(self, current: Pass, number: int, inputs: AttentionInputs) -> None:
        """The masks behind the cut `number`."""
        dtype = torch.promote_types(inputs.q.dtype, torch.float32)
        masks = torch.zeros(current.real.shape, dtype=dtype, device=inputs.q.device)
        masks = masks if current.masks is None else current.masks
        rows: dict[int, Attention] = {}
        own = []
        for image in current.images:
            row, real = image.row, current.real[image.row]
            if row not in rows:
                seen = attention_of_row(inputs, row, real, real[:0])
                rows[row] = replace(seen, bias=masks[row, real])
            place = real.cumsum(0) - 1
            weight = masks[row, image.columns].exp()
            scores = AttentionScores.of(rows[row], place[image.columns], place[current.text[row]], weight)
            one, views = views_of(image, self.adapter.grid)
            uniform = self.method.uniform(number, len(image.columns), (one,) if one else views)
            margin = scores.margin(uniform, self.modules.cuts[number], self.method.scale)
            own.append(masks[row, image.columns] + logsigmoid(self.temperature * margin))
        where = torch.cat([torch.full_like(image.columns, image.row) for image in current.images])
        columns = torch.cat([image.columns for image in current.images])
        current.coming, current.dtype = masks.index_put((where, columns), torch.cat(own)), inputs.q.dtype
        current.counts.append(torch.stack([mask.exp().sum() for mask in own]))

    def _after_backbone(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> None:
        current, self.local.current = self.local.current, None
        # the hook is called without output where the pass raised
        if current is None or output is None:
            return
        device = current.real.device
        sizes = torch.tensor([len(image.columns) for image in current.images], device=device)
        counts = torch.stack(current.counts, 1) if current.counts else torch.zeros(0, len(self.cuts), device=device)
        self.local.kept = Kept(counts, sizes, self.method.layers, len(self.layers.modules))


@contextmanager
def soften(model: nn.Module, method: ATP, modules: ATPModules, temperature: float = 10.0) -> Iterator[SoftMaskEngine]:
    """Train `modules`: every pass of `model` inside has soft masks, and `kept` of what is yielded is what they left.

    with soften(model, method, modules) as masks:
        loss = model(**batch).loss + ATPLoss()(masks.kept)

    The `weights` of `method` are not read. Raises ValueError for modules of other layers, and as `prune` does.
    """
    if not isinstance(method, ATP):
        raise ValueError(f"want a method with learned thresholds, ATP, got {method!r}")
    if modules.layers != method.layers:
        raise ValueError(f"want modules for the layers {method.layers}, got some for {modules.layers}")
    if not temperature > 0:
        raise ValueError(f"want a temperature above 0, got {temperature!r}")
    if method.positions != "keep":
        raise ValueError(
            f'want positions="keep" with soft masks, under which all tokens stay, got {method.positions!r}'
        )
    with uncompiled(model) as parts:
        engine = SoftMaskEngine(adapters.find(parts.model), method, modules, temperature)
        with attached(engine):
            yield engine


def _check_checkpointing(layer: nn.Module) -> None:
    """Raise ValueError where the masks' gradients would be lost on the way through a checkpointed layer."""
    check_recomputed(layer)
    if checkpoint_is_reentrant(layer):
        raise ValueError('want checkpointing with the setting "use_reentrant": False with soft masks, got reentrant')


def with_log_masks(given: object, current: Pass) -> torch.Tensor:
    """A layer's mask with the log masks on its columns, as numbers to add [B, H, L, L]."""
    masks = current.masks
    if masks is None or not (given is None or (isinstance(given, torch.Tensor) and given.ndim == 4)):
        raise ValueError("want a layer's attention mask to be of four dimensions, or none")
    # without a mask causality is all there is
    seen = causal(current.real.shape[1], masks.device)[None, None] if given is None else given
    if seen.dtype == torch.bool:
        # half of it, so that neither a sum nor rounding to bfloat16 makes it infinite
        lowest = torch.finfo(current.dtype).min / 2
        seen = torch.zeros(seen.shape, dtype=current.dtype, device=seen.device).masked_fill(~seen, lowest)
    return seen + masks[:, None, None].to(seen.dtype)
