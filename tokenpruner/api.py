"""The two public forms over one core.

with prune(model, method) as report: ...      every pass of the model inside is pruned
inputs = prepare(model, method, **inputs)     stateless: embeddings, mask and positions for generate()
"""

from __future__ import annotations

import functools
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ContextDecorator, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import nn

from prunekernels import registry
from tokenpruner.base.before_decoder import Method
from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.base.inside_decoder import LayerMethod
from tokenpruner.base.method_chain import MethodChain
from tokenpruner.base.positions import place
from tokenpruner.base.token_method import METHODS, TokenMethod, method_from_text
from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.models import adapter as adapters
from tokenpruner.models.compiled import uncompiled
from tokenpruner.models.overrides import not_copied
from tokenpruner.models.turns import Turns
from tokenpruner.report.records import LAST, Report

if TYPE_CHECKING:
    from tokenpruner.report.call_meter import Meter

Placed = TypeVar("Placed", bound=Method | LayerMethod | MethodChain | BlockMethod)
CHAIN = "chain"
WANT_METHOD = 'want a method such as DivPrune(keep_ratio=0.1) or "divprune:keep_ratio=0.1", got {!r}'

# by the module worked on: who may put hooks on it, and who prunes it
_GUARD = threading.Lock()
_LOCKS: weakref.WeakKeyDictionary[nn.Module, threading.Lock] = weakref.WeakKeyDictionary()
_PRUNED: weakref.WeakKeyDictionary[nn.Module, Shared] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Shared:
    """A module that is being pruned: whose turn it is in a thread, and what ends when all have left.

    One that `is_exclusive` is shared with nobody.
    """

    is_exclusive: bool = False
    turns: Turns = field(default_factory=Turns)
    until: ExitStack = field(default_factory=ExitStack)


@dataclass(frozen=True)
class Entered:
    """One `with prune(...)` that is open."""

    engine: Engine
    shared: Shared
    meter: Meter
    hooks: ExitStack


class Pruning(ContextDecorator):
    """What `prune` returns: nothing is pruned before it is entered."""

    def __init__(self, model: nn.Module, method: TokenMethod, hold: int | None) -> None:
        self.model, self.method, self.hold = model, method, hold
        self._open: list[Entered] = []
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
            with _lock(engine.core):
                shared = _PRUNED.get(engine.core) or Shared()
                if shared.is_exclusive or shared.turns.is_mine:
                    _check_free(engine.core)
                # before any hook is on: it is nobody's turn but theirs who have entered
                engine.acts = functools.partial(_acts, shared, engine)
                hooks = stack.enter_context(ExitStack())
                # outside the engine's hooks, so that their time counts
                meter = Meter(parts.model, report, engine.acts)
                for own in (not_copied(engine.core), engine.attached(), meter.attached()):
                    hooks.enter_context(own)
                if shared.turns.is_over:
                    parts.put_back(engine.hooked)
                shared.turns.enter(engine)
                _PRUNED[engine.core] = shared
                # what was compiled stays set aside until all have left
                kept = hooks.pop_all()
                shared.until.push(stack.pop_all().__exit__)
            self._open.append(Entered(engine, shared, meter, kept))
        return report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take them off; warns where images went in and none was seen."""
        entered = self._open.pop()
        core = entered.engine.core
        with _lock(core):
            try:
                entered.hooks.__exit__(kind, error, trace)
            finally:
                entered.shared.turns.leave(entered.engine)
                if entered.shared.turns.is_over:
                    _PRUNED.pop(core, None)
                    entered.shared.until.close()
        if error is None:
            entered.meter.warn_of_unseen()

    def _recreate_cm(self) -> Pruning:
        # a decorated function may run in several threads at once
        self._was_entered = True
        return Pruning(self.model, self.method, self.hold)

    def __del__(self) -> None:
        if not getattr(self, "_was_entered", True):
            warnings.warn("prune(...) alone prunes nothing: want `with prune(model, method) as report:`", stacklevel=2)


def prune(
    model: nn.Module,
    method: TokenMethod | str | Sequence[TokenMethod | str],
    *,
    flops_ratio: float | None = None,
    hold: int | None = LAST,
) -> Pruning:
    """Prune every call of `model` inside a `with`, from whichever thread; it yields the report that fills up.

    A thread that enters one of its own meanwhile has its own method and report, as requests to a server want them.

    `model` is a vision-language model, or a vision transformer for a method that works inside one; `method` one of
    `tokenpruner.methods`, or its text form, "divprune:keep_ratio=0.1", or a chain of several, in the order of the
    model; `flops_ratio` is what the decoder may cost for a row, of what it costs with all tokens, and methods that do
    not say how many tokens they keep share it (`methods/chain.py`). Raises ValueError for a model without visual
    tokens and for one that this thread is pruning already; inside, for what cannot be pruned: static caches, chunked
    prefill. A call without images is not changed. Logits and hidden states of a pruned call are those of the tokens
    that are left, rows filled up on the left; of all tokens where layers are only skipped, where a classifier or
    somebody else's loss works with them, and with labels in evaluation. Gradients flow, and a loss is over the tokens
    that are left. What is compiled around a hook runs as it was written meanwhile. The model is left as it was found,
    also after an exception; a cache that outlives the `with` keeps its logical length. The report holds the records of
    the last passes and calls, `hold` of them or all with None, and the sums of all.
    """
    if flops_ratio is None and isinstance(method, str | TokenMethod):
        return Pruning(model, _method(method), hold)
    methods = (method,) if isinstance(method, str | TokenMethod) else method
    return Pruning(model, _chain(methods, flops_ratio), hold)


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
    check_prompt(inputs)
    with uncompiled(model) as parts:
        if not isinstance(method, Method) and not (isinstance(method, BlockMethod) and adapters.fits(parts.model)):
            raise ValueError(
                f"{type(method).__name__} works inside the model, and prepare() hands over what enters the decoder: "
                "run the model inside `with prune(model, method)`"
            )
        adapter, method = _placed(parts.model, method)
        if isinstance(method, Method):
            parts.put_back((adapter.model, adapter.merger, adapter.backbone))
        # a model encodes one prompt at a time: the hooks of two would see each other's
        with _lock(adapter.backbone):
            _check_free(adapter.backbone)
            return prepared_inputs(adapter, method, report, inputs)


class Engine(Protocol):
    """One model being pruned by one method: while `attached`, every pass of it is."""

    # the module that it works on, and whether it is its turn in this thread
    core: nn.Module
    acts: Callable[[], bool]

    @property
    def hooked(self) -> Sequence[nn.Module]:
        """Every module that its hooks are on."""

    @property
    def method(self) -> TokenMethod:
        """As it is carried out, with the positions that this model has."""

    def attached(self) -> AbstractContextManager[None]:
        """Puts the hooks on, and takes them off."""


@contextmanager
def attached(engine: Engine) -> Iterator[None]:
    """While open, `engine` works on its model and no other one does; raises ValueError where one does already."""
    with ExitStack() as stack:
        with _lock(engine.core):
            _check_free(engine.core)
            stack.callback(_PRUNED.pop, engine.core, None)
            _PRUNED[engine.core] = Shared(is_exclusive=True)
            for hooks in (not_copied(engine.core), engine.attached()):
                stack.enter_context(hooks)
        yield


def _acts(shared: Shared, engine: Engine) -> bool:
    return shared.turns.now() is engine


def _engine(model: nn.Module, method: TokenMethod, report: Report) -> Engine:
    """The engine of the method's kind; raises ValueError where it does not fit the model."""
    from tokenpruner.before_decoder import before_tower
    from tokenpruner.before_decoder.engine import BeforeDecoderEngine
    from tokenpruner.inside_decoder import flow_engine
    from tokenpruner.inside_decoder.chain_engine import ChainEngine
    from tokenpruner.models import vision_towers
    from tokenpruner.vision_transformer.engine import VisionTransformerEngine

    if isinstance(method, BlockMethod) and not adapters.fits(model):
        return VisionTransformerEngine(model, vision_towers.find(model), method, report)
    if isinstance(method, Method | BlockMethod):
        return BeforeDecoderEngine(*_placed(model, method), report)
    if isinstance(method, LayerMethod):
        return flow_engine.engine_of(*_placed(model, method), report)
    if isinstance(method, MethodChain):
        return ChainEngine(*_placed(model, method), report)
    if isinstance(method, PixelMethod):
        return before_tower.engine(model, method, report)
    raise ValueError(WANT_METHOD.format(method))


def _chain(methods: Sequence[TokenMethod | str], flops_ratio: float | None) -> TokenMethod:
    if not isinstance(methods, Sequence):
        raise ValueError(WANT_METHOD.format(methods))
    kind = registry.load(METHODS, CHAIN, MethodChain)
    return kind(tuple(_method(one) for one in methods), flops_ratio)


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

    adapter, kind, wanted = adapters.find(model), type(model).__name__, method.positions
    # rotary positions of three parts are not asked: they are never numbered anew
    is_free = not isinstance(method, LayerMethod) or method.mode == "drop"
    can = is_free and (
        isinstance(method, Method | BlockMethod) or (not adapter.has_mrope and can_number_anew(adapter.backbone))
    )
    if isinstance(method, MethodChain):
        wanted = method.wanted_positions
    published = method.published_positions if wanted == "published" else "keep"
    positions = place(wanted, published, kind, adapter.has_mrope, can)
    return adapter, method if positions == method.positions else replace(method, positions=positions)


def _lock(core: nn.Module) -> threading.Lock:
    with _GUARD:
        return _LOCKS.setdefault(core, threading.Lock())


def _check_free(core: nn.Module) -> None:
    if core in _PRUNED:
        raise ValueError(
            f"{type(core).__name__} is being pruned already: leave that `with prune(...)` first; another thread may "
            "have a method of its own"
        )
