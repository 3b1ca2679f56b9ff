"""The two public forms over one core.

with prune(model, method) as report: ...      every pass of the model inside is pruned
inputs = prepare(model, method, **inputs)     stateless: embeddings, mask and positions for generate()
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ContextDecorator, ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Protocol, TypeVar

import torch
from torch import nn

from tokenpruner.base.before_decoder import Method
from tokenpruner.base.inside_decoder import LayerMethod
from tokenpruner.base.positions import place
from tokenpruner.base.token_method import TokenMethod, method_from_text
from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.models import adapter as adapters
from tokenpruner.models.compiled import uncompiled
from tokenpruner.models.overrides import not_copied
from tokenpruner.report.records import LAST, Report

Placed = TypeVar("Placed", Method, LayerMethod)
WANT_METHOD = 'want a method such as DivPrune(keep_ratio=0.1) or "divprune:keep_ratio=0.1", got {!r}'

# by the module worked on: who may put hooks on a model, and which models are inside a `with prune(...)`
_GUARD = threading.Lock()
_LOCKS: weakref.WeakKeyDictionary[nn.Module, threading.Lock] = weakref.WeakKeyDictionary()
_PRUNED: weakref.WeakSet[nn.Module] = weakref.WeakSet()


class Pruning(ContextDecorator):
    """What `prune` returns: nothing is pruned before it is entered."""

    def __init__(self, model: nn.Module, method: TokenMethod, hold: int | None) -> None:
        self.model, self.method, self.hold = model, method, hold
        self._open: list[ExitStack] = []
        self._was_entered = False

    def __enter__(self) -> Report:
        """Put the hooks on; raises ValueError where the method does not fit the model."""
        from prunekernels import spec
        from tokenpruner.report.call_meter import Meter

        self._was_entered = True
        with ExitStack() as stack:
            parts = stack.enter_context(uncompiled(self.model))
            report = Report(hold=self.hold)
            engine = _engine(parts.model, self.method, report)
            report.method = spec.describe(engine.method)
            # outside the engine's hooks, so that their time counts
            stack.enter_context(attached(engine, Meter(parts.model, report).attached()))
            parts.put_back(engine.hooked)
            self._open.append(stack.pop_all())
        return report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take them off; warns where images went in and none was seen."""
        self._open.pop().__exit__(kind, error, trace)

    def __del__(self) -> None:
        if not getattr(self, "_was_entered", True):
            warnings.warn("prune(...) alone prunes nothing: want `with prune(model, method) as report:`", stacklevel=2)


def prune(model: nn.Module, method: TokenMethod | str, *, hold: int | None = LAST) -> Pruning:
    """Prune every call of `model` inside a `with`, from whichever thread; it yields the report that fills up.

    `model` is a vision-language model, or a vision transformer for a method that works inside one; `method` one of
    `tokenpruner.methods`, or its text form, "divprune:keep_ratio=0.1". Raises ValueError for a model without visual
    tokens and for one that is being pruned already; inside, for what cannot be pruned: static caches, chunked
    prefill. A call without images is not changed. Logits and hidden states of a pruned call are those of the tokens
    that are left, rows filled up on the left; of all tokens where layers are only skipped, where a classifier or
    somebody else's loss works with them, and with labels in evaluation. Gradients flow, and a loss is over the tokens
    that are left. What is compiled around a hook runs as it was written meanwhile. The model is left as it was found,
    also after an exception; a cache that outlives the `with` keeps its logical length. The report holds the records of
    the last passes and calls, `hold` of them or all with None, and the sums of all.
    """
    return Pruning(model, _method(method), hold)


@torch.no_grad()
def prepare(
    model: nn.Module, method: TokenMethod | str, report: Report | None = None, /, **inputs: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Encode and prune `inputs`: `inputs_embeds`, `attention_mask`, `position_ids` for `model.generate(**prepared)`.

    `inputs` are those of the model's forward, without cache and labels; without images they come back as they are.
    Works with static caches and assisted decoding. The numbers go to `report` if one is given. Raises ValueError as
    `prune` does, and for a model that hands its text backbone what generate() cannot be given (DeepStack features).
    """
    from tokenpruner.before_decoder.prepare import check_prompt, prepared_inputs

    method = _method(method)
    if not isinstance(method, Method):
        raise ValueError(
            f"{type(method).__name__} works inside the model, and prepare() hands over what enters the decoder: "
            "run the model inside `with prune(model, method)`"
        )
    check_prompt(inputs)
    with uncompiled(model) as parts:
        adapter, method = _placed(parts.model, method)
        parts.put_back((adapter.model, adapter.merger, adapter.backbone))
        # a model encodes one prompt at a time: the hooks of two would see each other's
        with _lock(adapter.backbone):
            _check_free(adapter.backbone)
            return prepared_inputs(adapter, method, report, inputs)


class Engine(Protocol):
    """One model being pruned by one method: while `attached`, every pass of it is."""

    # the module that only one engine works on at a time
    core: nn.Module

    @property
    def hooked(self) -> Sequence[nn.Module]:
        """Every module that its hooks are on."""

    @property
    def method(self) -> TokenMethod:
        """As it is carried out, with the positions that this model has."""

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
            for hooks in (not_copied(engine.core), engine.attached(), *around):
                stack.enter_context(hooks)
        yield


def _engine(model: nn.Module, method: TokenMethod, report: Report) -> Engine:
    """The engine of the method's kind; raises ValueError where it does not fit the model."""
    from tokenpruner.before_decoder.engine import BeforeDecoderEngine
    from tokenpruner.inside_decoder.engine import InsideDecoderEngine
    from tokenpruner.vision_transformer.engine import VisionTransformerEngine

    if isinstance(method, Method):
        return BeforeDecoderEngine(*_placed(model, method), report)
    if isinstance(method, LayerMethod):
        return InsideDecoderEngine(*_placed(model, method), report)
    if isinstance(method, BlockMethod):
        return VisionTransformerEngine(model, method, report)
    raise ValueError(WANT_METHOD.format(method))


def _method(method: TokenMethod | str) -> TokenMethod:
    method = method_from_text(method) if isinstance(method, str) else method
    if not isinstance(method, TokenMethod):
        raise ValueError(WANT_METHOD.format(method))
    return method


def _placed(model: nn.Module, method: Placed) -> tuple[adapters.Adapter, Placed]:
    """How `model` is reached, and `method` with the positions that it has there.

    Raises ValueError where it cannot have those that it names.
    """
    from tokenpruner.inside_decoder.rotary_positions import can_number_anew

    adapter = adapters.find(model)
    can = isinstance(method, Method) or (method.mode == "drop" and can_number_anew(adapter.backbone))
    kind = type(model).__name__
    positions = place(method.positions, method.published_positions, kind, adapter.has_mrope, can)
    return adapter, method if positions == method.positions else replace(method, positions=positions)


def _lock(core: nn.Module) -> threading.Lock:
    with _GUARD:
        return _LOCKS.setdefault(core, threading.Lock())


def _check_free(core: nn.Module) -> None:
    if core in _PRUNED:
        raise ValueError(
            f"{type(core).__name__} is being pruned already: leave that `with prune(...)` first, or give each request "
            "a method of its own by model.generate(**prepare(model, method, **inputs)) outside of any `with`"
        )
