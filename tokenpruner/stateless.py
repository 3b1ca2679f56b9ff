"""The stateless form: run generate() up to the text backbone, thin what would have entered, and hand that back.

What is handed back is tried before it leaves: generate() is started on it as well, and the backbone has to be given
what `prune` would give it. A model that hands its backbone more than generate() can be handed is refused.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from prunekernels import spec
from tokenpruner import along, prepared, thin
from tokenpruner.adapter import Adapter, Sighting
from tokenpruner.cache import Past
from tokenpruner.cost import size
from tokenpruner.entering import Entering, Kwargs, thinned
from tokenpruner.measure import Costs, clock
from tokenpruner.method import Method
from tokenpruner.report import Report
from tokenpruner.thin import Choice

Tensors = dict[str, torch.Tensor]
WAY_OUT = "use `with prune(model, method)`"
MEMORY = "rope_deltas"
# one prompt, one way, one step: whatever the model's own settings say
ONE_STEP = {"max_new_tokens": 1, "num_beams": 1, "num_return_sequences": 1, "do_sample": False, "use_cache": False}


class Entered(Exception):  # noqa: N818 - it ends a pass that went well
    """The pass has reached the text backbone."""


@dataclass(frozen=True)
class Entrance:
    """The arguments of the text backbone, and the mask that the model around it was given."""

    kwargs: Kwargs
    attention_mask: object


def thinned_inputs(adapter: Adapter, method: Method, report: Report | None, inputs: Tensors) -> Tensors:
    """Thinned inputs of generate(); `inputs` themselves where they show no image."""
    sighting = Sighting()
    plain = _entrance(adapter, sighting, inputs)
    sight = sighting.take()
    if sight is None:
        return dict(inputs)
    entering = Entering.of(plain.kwargs, plain.attention_mask)
    along.check(plain.kwargs, entering.shape)
    started = clock(entering.embeds.device)
    mask = entering.masks(Past())[1]
    choice = thin.choose(entering.embeds, mask, sight.images(), method, adapter.grid)
    _check_end(mask, choice.dropped, method)
    wanted, index, real = _wanted(adapter, plain.kwargs, entering, choice, method)
    seconds = clock(entering.embeds.device) - started
    handed: Tensors = {name: wanted[name] for name in ("inputs_embeds", "position_ids")}  # type: ignore[misc]
    handed["attention_mask"] = real.long()
    handed |= {
        name: inputs[name].to(index.device).gather(1, index).masked_fill(~real, 0)
        for name in along.PER_TOKEN
        if inputs.get(name) is not None and inputs[name].shape == mask.shape
    }
    _try(adapter, handed, wanted, real)
    if report is not None:
        report.method = spec.describe(method)
        report.prefills.append(Costs.of(adapter.backbone).record(choice, mask, (0, 0), seconds))
    return handed


def _wanted(
    adapter: Adapter, kwargs: Kwargs, entering: Entering, choice: Choice, method: Method
) -> tuple[Kwargs, torch.Tensor, torch.Tensor]:
    """What the backbone has to be given; the columns [B, P] that stay, and which of them are real."""
    mask = entering.masks(Past())[1]
    if choice.is_whole:
        index = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
        return {**kwargs, "position_ids": entering.positions(Past())}, index, mask
    window = size(adapter.backbone.config, "sliding_window")
    changed, index, prefix = thinned(entering, Past(), choice, method.positions, window)
    return {**kwargs, **changed, **along.cut(kwargs, choice, index, prefix.mask)}, index, prefix.mask


def _try(adapter: Adapter, handed: Tensors, wanted: Kwargs, real: torch.Tensor) -> None:
    """Start generate() on `handed`; raises ValueError where the backbone is given anything but what is `wanted`."""
    got = _entrance(adapter, Sighting(), handed).kwargs
    takes = inspect.signature(adapter.backbone.forward).parameters
    for name in sorted({*got, *wanted} & {*takes}):
        if not _agree(name, got.get(name), wanted.get(name), real):
            kind = type(adapter.model).__name__
            raise ValueError(f"{kind} hands its text backbone {name}, which generate() cannot be given: {WAY_OUT}")


def _agree(name: str, got: object, wanted: object, real: torch.Tensor) -> bool:
    """Whether the real tokens would notice no difference between two arguments of the backbone."""
    if name == "attention_mask" and got is None:
        # left out where no token is padding
        return bool(real.all()) and not prepared.is_prepared(wanted)
    if isinstance(got, torch.Tensor) and isinstance(wanted, torch.Tensor):
        if name == "position_ids" and got.shape == wanted.shape:
            # those of padding say nothing
            return torch.equal(got[..., real], wanted[..., real])
        return torch.equal(got, wanted)
    if isinstance(got, list | tuple) and isinstance(wanted, list | tuple):
        return len(got) == len(wanted) and all(_agree("", *pair, real) for pair in zip(got, wanted, strict=True))
    # switches and caches say nothing of single tokens
    return not any(isinstance(value, torch.Tensor | list | tuple | dict) for value in (got, wanted))


def _entrance(adapter: Adapter, sighting: Sighting, inputs: Tensors) -> Entrance:
    """What generate() would hand the backbone, which does not run."""
    caller, given, entered = threading.get_ident(), [], []

    def note(module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        if threading.get_ident() == caller:
            given.append(kwargs.get("attention_mask"))

    def stop(module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        # another thread may be using the same model
        if threading.get_ident() == caller:
            entered.append(dict(kwargs))
            raise Entered

    kind, generate = type(adapter.model).__name__, getattr(adapter.model, "generate", None)
    writes = getattr(adapter.model, "prepare_inputs_for_generation", None)
    if generate is None or writes is None or "inputs_embeds" not in inspect.signature(writes).parameters:
        raise ValueError(f"want a generate() that takes inputs_embeds, {kind} has none: {WAY_OUT}")
    with ExitStack() as stack:
        stack.enter_context(adapter.watch(sighting))
        stack.enter_context(_forgetful(adapter.merger))
        stack.callback(adapter.merger.register_forward_pre_hook(note, with_kwargs=True).remove)
        stack.callback(adapter.backbone.register_forward_pre_hook(stop, with_kwargs=True).remove)
        try:
            generate(**inputs, **ONE_STEP)
        except Entered:
            return Entrance(entered[0], given[-1])
    raise ValueError(f"{type(adapter.merger).__name__} never called its text backbone")


@contextmanager
def _forgetful(merger: nn.Module) -> Iterator[None]:
    """Afterwards the model remembers the pass before, by whose length models with mRoPE count on."""
    before = vars(merger).get(MEMORY)
    try:
        yield
    finally:
        if MEMORY in vars(merger):
            setattr(merger, MEMORY, before)


def _check_end(mask: torch.Tensor, dropped: torch.Tensor, method: Method) -> None:
    """With gaps kept, generate() counts on from the last token: it must have stayed."""
    columns = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, columns, -1).amax(1).clamp(min=0)
    lost = dropped.gather(1, last[:, None]).flatten()
    if method.positions == "keep" and lost.any():
        row = int(lost.nonzero()[0])
        raise ValueError(
            f'row {row} ends with an image token that is dropped: put text behind it, take positions="compact", '
            "or use prune()"
        )
