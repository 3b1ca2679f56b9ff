"""The two public forms over one core.

with prune(model, method) as report: ...      every pass of the model inside is pruned
inputs = prepare(model, method, **inputs)     stateless: embeddings, mask and positions for generate()
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from tokenpruner import adapter as adapters
from tokenpruner.method import Method
from tokenpruner.report import Report

# by text backbone: who may put hooks on a model, and which models are inside a `with prune(...)`
_GUARD = threading.Lock()
_LOCKS: weakref.WeakKeyDictionary[nn.Module, threading.Lock] = weakref.WeakKeyDictionary()
_PRUNED: weakref.WeakSet[nn.Module] = weakref.WeakSet()


@contextmanager
def prune(model: nn.Module, method: Method) -> Iterator[Report]:
    """Prune every call of `model` inside the `with`, from whichever thread; yields the report that fills up.

    Raises ValueError for a model without visual tokens and for one that is being pruned already; inside, for
    what cannot be pruned: labels, static caches, chunked prefill. A call without images is not changed. The model
    is left as it was found, also after an exception; a cache that outlives the `with` keeps its logical length.
    """
    from prunekernels import spec
    from tokenpruner.session import Session

    adapter = adapters.find(model)
    _check_method(method)
    report = Report(method=spec.describe(method))
    session = Session(adapter, method, report)
    with ExitStack() as stack:
        with _lock(adapter):
            _check_free(adapter)
            stack.callback(_PRUNED.discard, adapter.backbone)
            _PRUNED.add(adapter.backbone)
            stack.enter_context(session.attached())
        yield report


@torch.no_grad()
def prepare(
    model: nn.Module, method: Method, report: Report | None = None, /, **inputs: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Encode and prune `inputs`: `inputs_embeds`, `attention_mask`, `position_ids` for `model.generate(**prepared)`.

    `inputs` are those of the model's forward, without cache and labels; without images they come back as they are.
    Works with static caches. The numbers go to `report` if one is given. Raises ValueError as `prune` does.
    """
    from tokenpruner.stateless import prepared

    adapter = adapters.find(model)
    _check_method(method)
    for name in ("labels", "past_key_values"):
        if inputs.get(name) is not None:
            raise ValueError(f"prepare() wants a whole prompt for generate(), got {name}")
    # a model encodes one prompt at a time: the hooks of two would see each other's
    with _lock(adapter):
        _check_free(adapter)
        return prepared(adapter, method, report, inputs)


def _check_method(method: Method) -> None:
    if not isinstance(method, Method):
        raise ValueError(f"want a method such as DivPrune(keep_ratio=0.1), got {method!r}")


def _lock(adapter: adapters.Adapter) -> threading.Lock:
    with _GUARD:
        return _LOCKS.setdefault(adapter.backbone, threading.Lock())


def _check_free(adapter: adapters.Adapter) -> None:
    if adapter.backbone in _PRUNED:
        raise ValueError(f"{type(adapter.model).__name__} is being pruned already: leave that `with prune(...)` first")
