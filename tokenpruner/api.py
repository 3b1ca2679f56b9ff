"""The two public forms over one core.

with prune(model, method) as report: ...      every pass of the model inside is pruned
inputs = prepare(model, method, **inputs)     stateless: embeddings, mask and positions for generate()
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

import torch
from torch import nn

from tokenpruner.base.before_decoder import Method
from tokenpruner.base.inside_decoder import LayerMethod
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.models import adapter as adapters
from tokenpruner.report.records import Report

WANT_METHOD = "want a method such as DivPrune(keep_ratio=0.1), got {!r}"

# by the module worked on: who may put hooks on a model, and which models are inside a `with prune(...)`
_GUARD = threading.Lock()
_LOCKS: weakref.WeakKeyDictionary[nn.Module, threading.Lock] = weakref.WeakKeyDictionary()
_PRUNED: weakref.WeakSet[nn.Module] = weakref.WeakSet()


@contextmanager
def prune(model: nn.Module, method: TokenMethod) -> Iterator[Report]:
    """Prune every call of `model` inside the `with`, from whichever thread; yields the report that fills up.

    `model` is a vision-language model, or a vision transformer for a method that works inside one. Raises ValueError
    for a model without visual tokens and for one that is being pruned already; inside, for what cannot be pruned:
    static caches, chunked prefill. A call without images is not changed. Logits and hidden states of a pruned call
    are those of the tokens that are left, rows filled up on the left; of all tokens where they only skip layers.
    Gradients flow, and a loss is over the tokens that are left. The model is left as it was found, also after an
    exception; a cache that outlives the `with` keeps its logical length.
    """
    from prunekernels import spec
    from tokenpruner.report.call_meter import Meter

    if not isinstance(method, TokenMethod):
        raise ValueError(WANT_METHOD.format(method))
    report = Report(method=spec.describe(method))
    # outside the engine's hooks, so that their time counts
    with attached(_engine(model, method, report), Meter(model, report).attached()):
        yield report


@torch.no_grad()
def prepare(
    model: nn.Module, method: TokenMethod, report: Report | None = None, /, **inputs: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Encode and prune `inputs`: `inputs_embeds`, `attention_mask`, `position_ids` for `model.generate(**prepared)`.

    `inputs` are those of the model's forward, without cache and labels; without images they come back as they are.
    Works with static caches and assisted decoding. The numbers go to `report` if one is given. Raises ValueError as
    `prune` does, and for a model that hands its text backbone what generate() cannot be given (DeepStack features).
    """
    from tokenpruner.before_decoder.prepare import prepared_inputs
    from tokenpruner.models.transformers_api import CACHE_ARGUMENTS

    if not isinstance(method, TokenMethod):
        raise ValueError(WANT_METHOD.format(method))
    if not isinstance(method, Method):
        raise ValueError(
            f"{type(method).__name__} works inside the model, and prepare() hands over what enters the decoder: "
            "run the model inside `with prune(model, method)`"
        )
    adapter = _adapter(model, method)
    for name in ("labels", *CACHE_ARGUMENTS):
        if inputs.get(name) is not None:
            raise ValueError(f"prepare() wants a whole prompt for generate(), got {name}")
    # a model encodes one prompt at a time: the hooks of two would see each other's
    with _lock(adapter.backbone):
        _check_free(adapter.backbone)
        return prepared_inputs(adapter, method, report, inputs)


class Engine(Protocol):
    """One model being pruned by one method: while `attached`, every pass of it is."""

    # the module that only one engine works on at a time
    core: nn.Module

    def attached(self) -> AbstractContextManager[None]:
        """Puts the hooks on, and takes them off."""


@contextmanager
def attached(engine: Engine, *around: AbstractContextManager[None]) -> Iterator[None]:
    """While open, `engine` works on its model and no other one does; then come other hooks, `around` its own.

    Raises ValueError where an engine works on it already.
    """
    with ExitStack() as stack:
        with _lock(engine.core):
            _check_free(engine.core)
            stack.callback(_PRUNED.discard, engine.core)
            _PRUNED.add(engine.core)
            for hooks in (engine.attached(), *around):
                stack.enter_context(hooks)
        yield


def _engine(model: nn.Module, method: TokenMethod, report: Report) -> Engine:
    """The engine of the method's kind; raises ValueError where it does not fit the model."""
    from tokenpruner.before_decoder.engine import BeforeDecoderEngine
    from tokenpruner.inside_decoder.engine import InsideDecoderEngine
    from tokenpruner.vision_transformer.engine import VisionTransformerEngine

    if isinstance(method, Method):
        return BeforeDecoderEngine(_adapter(model, method), method, report)
    if isinstance(method, LayerMethod):
        return InsideDecoderEngine(_adapter(model, method), method, report)
    if isinstance(method, BlockMethod):
        return VisionTransformerEngine(model, method, report)
    raise ValueError(WANT_METHOD.format(method))


def _adapter(model: nn.Module, method: Method | LayerMethod) -> adapters.Adapter:
    """How `model` is reached; raises ValueError where it cannot have the positions of the method."""
    adapter = adapters.find(model)
    if method.positions == "compact" and adapter.has_mrope:
        kind = type(model).__name__
        raise ValueError(f'positions="compact" wants one position a token, {kind} has three: take positions="keep"')
    return adapter


def _lock(core: nn.Module) -> threading.Lock:
    with _GUARD:
        return _LOCKS.setdefault(core, threading.Lock())


def _check_free(core: nn.Module) -> None:
    if core in _PRUNED:
        raise ValueError(f"{type(core).__name__} is being pruned already: leave that `with prune(...)` first")
