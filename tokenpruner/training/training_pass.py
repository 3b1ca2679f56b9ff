"""Training of what a method learned: the model runs on all tokens, and hooks on its layers do what pruning would do.

A pass is a whole sequence without cache. The text that judges an image ends before the first label behind the images:
what the model shall learn to say is not there yet when it chooses.
"""

from __future__ import annotations

import functools
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import nn

from tokenpruner.base.inside_decoder import LayerMethod, Stage
from tokenpruner.decoder import cache_state
from tokenpruner.decoder.backbone_inputs import BackboneInputs
from tokenpruner.decoder.cache_state import Past
from tokenpruner.decoder.hooks import DecoderHooks
from tokenpruner.decoder.loss_labels import LabelCut, answers
from tokenpruner.inside_decoder.layer_arguments import bound_arguments
from tokenpruner.inside_decoder.stage_selection import checked_stages
from tokenpruner.models.adapter import Adapter
from tokenpruner.models.attention import Attention
from tokenpruner.models.attention_probe import AttentionInputs, attention_of_row
from tokenpruner.models.decoder_layers import DecoderLayers, check_recomputed
from tokenpruner.models.forward_hooks import around_layers
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.transformers_api import Kwargs, cache_of, checkpoint_is_reentrant
from tokenpruner.report.records import Report


@dataclass
class TrainingPass:
    """One forward pass: which tokens are `real` and which are the `text` that has a say, bool [B, L]; its images."""

    real: torch.Tensor
    text: torch.Tensor
    images: list[ImageTokens]


@dataclass(frozen=True)
class ImageAttention:
    """The `attention` that an image is judged by, its row's, and where image and text stand in it: int64 [N], [T]."""

    image: ImageTokens
    attention: Attention
    columns: torch.Tensor
    text: torch.Tensor


P = TypeVar("P", bound=TrainingPass)
K = TypeVar("K")


class Local(threading.local):
    """The pass that runs in this thread, and what the last one kept."""

    current: TrainingPass | None = None
    kept: object = None


class TrainingEngine(DecoderHooks, Generic[P, K]):
    """Runs one model as `method` trains it: subclasses say what a pass P notes, and what K it kept in the end."""

    def __init__(self, adapter: Adapter, method: LayerMethod) -> None:
        super().__init__(adapter, method, Report())
        if method.newlines != "keep":
            raise ValueError(f'want newlines="keep" in training, where they are in the text, got {method.newlines!r}')
        self.method, self.local = method, Local()
        self.layers = DecoderLayers.of(adapter.backbone)
        self.stages: tuple[Stage, ...] = checked_stages(self.layers, method)
        if any(kind.is_flash for kind in self.layers.kinds):
            raise ValueError('want attention "sdpa" or "eager" in training, got flash attention')

    @abstractmethod
    def _begun(self, real: torch.Tensor, text: torch.Tensor, images: list[ImageTokens]) -> P:
        """A pass that begins."""

    @abstractmethod
    def _entering(
        self, current: P, number: int, layer: nn.Module, hidden: torch.Tensor, given: Kwargs
    ) -> tuple[torch.Tensor, Kwargs] | None:
        """What layer `number` is called with in place of `hidden` and `given`; None for just that."""

    def _leaving(self, current: P, number: int, output: object) -> object:
        """What layer `number` gives in place of `output`."""
        return output

    @abstractmethod
    def _ended(self, current: P) -> K:
        """What a pass kept, at its end."""

    @property
    def kept(self) -> K:
        """What this thread's last pass left of its images, for the losses."""
        if self.local.kept is None:
            raise ValueError("want a forward pass first, got none in this thread")
        return self.local.kept  # type: ignore[return-value]

    def cut(self) -> LabelCut | None:
        """None: all tokens stay."""
        return None

    @contextmanager
    def attached_inside(self) -> Iterator[None]:
        """Hooks before each layer and behind it."""
        with around_layers(self.layers.modules, self._before_layer, self._after_layer):
            yield

    def _guarded(self, generate: Callable[..., object]) -> Callable[..., object]:
        """No `generate` in training."""
        kind = type(self).__name__

        @functools.wraps(generate)
        def refused(*args: object, **kwargs: object) -> object:
            raise ValueError(
                f"want no generate() in training ({kind}): save what is learned and use `with prune(model, ...)`"
            )

        return refused

    def _before_backbone(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        visual = self.recorder.take()
        self.local.current, self.local.kept = None, None
        if cache_state.read(cache_of(kwargs)).logical:
            raise ValueError("want whole sequences in training, got a cache that holds tokens")
        backbone_inputs = BackboneInputs.of(kwargs, self.call.attention_mask)
        real = backbone_inputs.masks(Past())[1]
        images = [] if visual is None else visual.images()
        for image in images:
            if not bool(real[image.row, image.columns].all()):
                raise ValueError(f"row {image.row}: want attention_mask 1 on image tokens, got 0")
        if backbone_inputs.samples is not None:
            raise ValueError("want one sample a row in training, got packed rows: give each a row of its own")
        text = real & ~answers(self.call.labels, images, real)
        for image in images:
            text[image.row, image.columns] = False
            text[image.row, image.newlines] = False
        self.local.current = self._begun(real, text, images)

    def _before_layer(
        self, number: int, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        current = self.local.current
        if current is None or not current.images:
            return None
        _check_checkpointing(module)
        found = self._entering(current, number, module, *bound_arguments(module, args, kwargs))  # type: ignore[arg-type]
        return None if found is None else ((found[0],), found[1])

    def _after_layer(self, number: int, module: nn.Module, args: tuple[object, ...], output: object) -> object:
        current = self.local.current
        if current is None or not current.images:
            return output
        return self._leaving(current, number, output)  # type: ignore[arg-type]

    def _after_backbone(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> None:
        current, self.local.current = self.local.current, None
        # the hook is called without output where the pass raised
        if current is not None and output is not None:
            self.local.kept = self._ended(current)  # type: ignore[arg-type]


def attentions(current: TrainingPass, inputs: AttentionInputs) -> Iterator[ImageAttention]:
    """What each image of a pass is judged by, in the layer whose attention gets `inputs`."""
    rows: dict[int, Attention] = {}
    for image in current.images:
        row, real = image.row, current.real[image.row]
        if row not in rows:
            rows[row] = attention_of_row(inputs, row, real, real[:0])
        place = real.cumsum(0) - 1
        yield ImageAttention(image, rows[row], place[image.columns], place[current.text[row]])


def at_images(whole: torch.Tensor, images: Sequence[ImageTokens], values: Sequence[torch.Tensor]) -> torch.Tensor:
    """`whole` [B, L] with the `values` [N] of each image at its tokens; gradients flow to both."""
    rows = torch.cat([torch.full_like(image.columns, image.row) for image in images])
    return whole.index_put((rows, torch.cat([image.columns for image in images])), torch.cat([*values]))


def _check_checkpointing(layer: nn.Module) -> None:
    """Raise ValueError where gradients would be lost on the way through a checkpointed layer."""
    check_recomputed(layer)
    if checkpoint_is_reentrant(layer):
        raise ValueError('want checkpointing with the setting "use_reentrant": False in training, got reentrant')
