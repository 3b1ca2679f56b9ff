"""The hooks around a decoder that every engine needs: what a pass is asked for, where its visual tokens stand.

They listen to the model, to the module that puts image features among the text, and to the text backbone; what
is done with the tokens is the engine's.
"""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import nn

from tokenpruner.base.token_method import TokenMethod
from tokenpruner.decoder import cache_state
from tokenpruner.decoder.cache_state import STATIC, WAY_OUT
from tokenpruner.decoder.loss_labels import LabelCut, has_replaceable_loss, with_cut_labels
from tokenpruner.decoder.whole_outputs import has_other_head, with_embeddings_left, with_whole, with_whole_hidden
from tokenpruner.models.adapter import Adapter, FeatureReader, VisualTokenRecorder
from tokenpruner.models.forward_hooks import after_forward, before_forward
from tokenpruner.models.overrides import NotCopied, method_wrapped
from tokenpruner.models.tower_reader import TowerReader
from tokenpruner.models.transformers_api import Cache, Kwargs, cache_of, shows_images
from tokenpruner.report.prefill_record import PrefillCosts, with_bytes
from tokenpruner.report.records import Prefill, Report


class ModelCall(threading.local):
    """What the pass of this thread brought to the model: mask and labels, and why it could not be pruned.

    `is_open` while the model as a whole is called, and not a part of it by itself.
    """

    attention_mask: object = None
    labels: object = None
    refusal: str | None = None
    is_open: bool = False


class DecoderHooks(NotCopied, ABC):
    """One model being pruned by one method into one report."""

    # what to do where a cache or a prompt is of a form that hooks come too late for
    way_out = WAY_OUT

    def __init__(self, adapter: Adapter, method: TokenMethod, report: Report) -> None:
        self.adapter, self.report, self.keeps_all = adapter, report, method.keeps_all
        self.core = adapter.backbone
        self.hooked: tuple[nn.Module, ...] = (adapter.model, adapter.merger, adapter.backbone)
        self.has_loss = has_replaceable_loss(adapter.model, adapter.backbone)
        # whether it is this engine's turn in a thread
        self.acts: Callable[[], bool] = lambda: True
        self.has_other_head = has_other_head(adapter.model, adapter.merger)
        self.recorder = VisualTokenRecorder(self._reader(method))
        self.call, self.lock = ModelCall(), threading.Lock()
        self.costs = PrefillCosts.of(adapter.backbone)

    def _reader(self, method: TokenMethod) -> FeatureReader | None:
        """What listens to the vision tower: by default a reader of what the method needs."""
        return TowerReader.of(self.adapter.merger, self.adapter.backbone, *method.tower_needs())

    @abstractmethod
    def cut(self) -> LabelCut | None:
        """Which tokens of this thread's last pass were left; None where all were."""

    @abstractmethod
    def _before_backbone(
        self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None: ...

    @abstractmethod
    def _after_backbone(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> None: ...

    def _add(self, record: Prefill, selection_ms: float, prefill_ms: float, cache: Cache | None) -> None:
        """Count a pass whose times and `cache` are these."""
        record = replace(record, selection_ms=selection_ms, prefill_ms=prefill_ms)
        record = self._counted(with_bytes(record, cache_state.held_bytes(cache)))
        with self.lock:
            self.report.add(record)

    def _counted(self, record: Prefill) -> Prefill:
        """`record` with what a pass took ahead of the decoder, where that counts."""
        return record

    def attached_inside(self) -> AbstractContextManager[None]:
        """More hooks, below the backbone."""
        return nullcontext()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While open, every pass of the model is pruned, whichever thread runs it; then all is as it was."""
        model, merger, backbone = self.adapter.model, self.adapter.merger, self.adapter.backbone
        with ExitStack() as stack:
            stack.enter_context(self.adapter.watch(self.recorder))
            for handle in (
                before_forward(model, self._before_model),
                after_forward(model, self._after_model),
                before_forward(merger, self._before_merger),
                after_forward(merger, self._after_merger),
                before_forward(backbone, self._before_backbone),
                after_forward(backbone, self._after_backbone),
                after_forward(backbone, self._with_whole_hidden),
            ):
                stack.callback(handle.remove)
            stack.enter_context(self.attached_inside())
            stack.enter_context(with_cut_labels(model, backbone, self._cut_for_loss))
            if hasattr(model, "generate"):
                stack.enter_context(method_wrapped(model, "generate", self._guarded))
            yield

    def _guarded(self, generate: Callable[..., object]) -> Callable[..., object]:
        """`generate`, refused before it starts where hooks cannot work: masks made ahead, prompts in pieces."""
        model = self.adapter.model

        @functools.wraps(generate)
        def guarded(*args: object, **kwargs: object) -> object:
            if shows_images(model, (), kwargs) and not self.keeps_all and self.acts():
                config = kwargs.get("generation_config", args[1] if len(args) > 1 else None)
                config = getattr(model, "generation_config", None) if config is None else config
                cache = kwargs.get("cache_implementation", getattr(config, "cache_implementation", None))
                chunk = kwargs.get("prefill_chunk_size", getattr(config, "prefill_chunk_size", None))
                if isinstance(cache, str) and "static" in cache:
                    raise ValueError(f"cache_implementation={cache!r}: {STATIC}: {self.way_out}")
                if chunk is not None:
                    # an image may be cut in two
                    got = f"got prefill_chunk_size={chunk}"
                    raise ValueError(f"want the prompt in one piece, {got}: {self.way_out}")
            return generate(*args, **kwargs)

        return guarded

    def _before_model(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        logits_to_keep = kwargs.get("logits_to_keep")
        self.call.refusal, self.call.labels, self.call.is_open = None, kwargs.get("labels"), True
        if isinstance(logits_to_keep, torch.Tensor):
            self.call.refusal = "want logits_to_keep as a count: indices change when tokens are dropped"
        elif logits_to_keep and kwargs.get("labels") is not None:
            self.call.refusal = f"want all logits where there are labels, got logits_to_keep={logits_to_keep}"
        elif kwargs.get("labels") is not None and not self.has_loss and not self.has_other_head:
            kind = type(self.adapter.model).__name__
            self.call.refusal = f"want no labels: this {kind} computes its loss by itself, over dropped tokens too"

    def _after_model(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> object:
        labels, self.call.labels, self.call.is_open = self.call.labels, None, False
        cut = self.cut()
        if output is None or cut is None:
            return None
        if self.has_other_head:
            return with_embeddings_left(output, cut)
        # whoever evaluates compares logits with the labels that were given
        return with_whole(output, "logits", cut) if labels is not None and not module.training else None

    def _needs_whole(self) -> bool:
        """True where somebody else works with the hidden states: another head, or a loss outside of the model."""
        return self.has_other_head or (self.adapter.model is not self.adapter.merger and not self.call.is_open)

    def _cut_for_loss(self) -> LabelCut | None:
        return None if self._needs_whole() else self.cut()

    def _with_whole_hidden(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> object:
        cut = self.cut()
        return None if output is None or cut is None or not self._needs_whole() else with_whole_hidden(output, cut)

    def _before_merger(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        self.call.attention_mask = kwargs.get("attention_mask")
        # a mask may be made from the cache here, ahead of the backbone, which then gets another one
        cache_state.allow_masks(cache_of(kwargs), True)

    def _after_merger(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> None:
        self.call.attention_mask = None
        cache_state.allow_masks(cache_of(kwargs), False)
