"""Soft masks: in training no token is dropped, it is looked at less (ATP-LLaVA, Ye et al., CVPR 2025).

    M = sigmoid(temperature * margin),    attention behind the cut:  softmax(scores + log M)

Multiplied into the weights ahead of their sum, masks that become hard (temperature to infinity) give exactly what
dropping gives, which is what runs later; multiplied behind the softmax they would leave the other weights too
small. The masks of several cuts multiply, and so do they in what a token is judged by. A sliding window counts the
tokens that are there, which are all of them here and fewer once tokens are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from tokenpruner.methods.atp import ATP, ATPModules, AttentionScores
from tokenpruner.models import attention_probe
from tokenpruner.models.adapter import Adapter
from tokenpruner.models.attention import causal
from tokenpruner.models.attention_probe import AttentionInputs
from tokenpruner.models.image_tokens import ImageTokens, views_of
from tokenpruner.models.transformers_api import Kwargs
from tokenpruner.training.atp_losses import Kept
from tokenpruner.training.training_pass import TrainingEngine, TrainingPass, at_images, attentions


@dataclass
class MaskedPass(TrainingPass):
    """A pass with the log masks float [B, L] `masks` behind the last cut and `coming` behind the next one.

    `counts` are the tokens that are left, [images] a cut.
    """

    masks: torch.Tensor | None = None
    coming: torch.Tensor | None = None
    counts: list[torch.Tensor] = field(default_factory=list)
    dtype: torch.dtype = torch.float32


class MaskingEngine(TrainingEngine[MaskedPass, Kept]):
    """Masks the visual tokens of one model by the margins of `method` with `modules`."""

    def __init__(self, adapter: Adapter, method: ATP, modules: ATPModules, temperature: float) -> None:
        if modules.layers != method.layers:
            raise ValueError(f"want modules for the layers {method.layers}, got some for {modules.layers}")
        if method.positions != "keep":
            raise ValueError(
                f'want positions="keep" in training, under which all tokens stay, got {method.positions!r}'
            )
        super().__init__(adapter, method)
        self.atp, self.modules, self.temperature = method, modules, temperature
        self.cuts = {stage.layer: number for number, stage in enumerate(self.stages)}

    def _begun(self, real: torch.Tensor, text: torch.Tensor, images: list[ImageTokens]) -> MaskedPass:
        return MaskedPass(real, text, images)

    def _entering(
        self, current: MaskedPass, number: int, layer: nn.Module, hidden: torch.Tensor, given: Kwargs
    ) -> tuple[torch.Tensor, Kwargs] | None:
        if number in self.cuts:
            current.masks = current.coming
        if number + 1 in self.cuts:
            self._judge(current, self.cuts[number + 1], attention_probe.read(layer, hidden, given))
        if current.masks is None:
            return None
        return hidden, given | {"attention_mask": with_log_masks(given.get("attention_mask"), current)}

    def _judge(self, current: MaskedPass, number: int, inputs: AttentionInputs) -> None:
        """The masks behind the cut `number`."""
        dtype = torch.promote_types(inputs.q.dtype, torch.float32)
        masks = torch.zeros(current.real.shape, dtype=dtype, device=inputs.q.device)
        masks = masks if current.masks is None else current.masks
        own = []
        for seen in attentions(current, inputs):
            row, image = seen.image.row, seen.image
            attention = replace(seen.attention, bias=masks[row, current.real[row]])
            weight = masks[row, image.columns].exp()
            scores = AttentionScores.of(attention, seen.columns, seen.text, weight)
            one, views = views_of(image, self.adapter.grid)
            uniform = self.atp.uniform(number, len(image.columns), (one,) if one else views)
            margin = scores.margin(uniform, self.modules.cuts[number], self.atp.scale)
            own.append(masks[row, image.columns] + logsigmoid(self.temperature * margin))
        current.coming, current.dtype = at_images(masks, current.images, own), inputs.q.dtype
        current.counts.append(torch.stack([mask.exp().sum() for mask in own]))

    def _ended(self, current: MaskedPass) -> Kept:
        device = current.real.device
        sizes = torch.tensor([len(image.columns) for image in current.images], device=device)
        counts = torch.stack(current.counts, 1) if current.counts else torch.zeros(0, len(self.cuts), device=device)
        return Kept(counts, sizes, self.atp.layers, len(self.layers.modules))


def with_log_masks(given: object, current: MaskedPass) -> torch.Tensor:
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
