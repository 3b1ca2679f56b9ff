"""The stateless form: run generate() up to the text backbone, shorten what would have entered, and hand that back.

What is handed back is tried before it leaves: generate() is started on it as well, and the backbone has to be given
what `prune` would give it. A model that hands its backbone more than generate() can be handed is refused.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn

from prunekernels import spec
from tokenpruner.base.before_decoder import Method
from tokenpruner.base.positions import Positions
from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.before_decoder.choice import choice_of
from tokenpruner.before_decoder.selection import Selection, Sequences
from tokenpruner.before_decoder.shortened_inputs import Backbone, cut_per_token, shortened
from tokenpruner.decoder.attention_masks import is_made_ahead
from tokenpruner.decoder.backbone_inputs import PER_TOKEN, BackboneInputs, check_arguments
from tokenpruner.decoder.cache_state import Past
from tokenpruner.models.adapter import Adapter, VisualTokenRecorder
from tokenpruner.models.forward_hooks import before_forward
from tokenpruner.models.transformers_api import CACHE_ARGUMENTS, Kwargs
from tokenpruner.report.prefill_record import Lengths, PrefillCosts
from tokenpruner.report.records import Report
from tokenpruner.report.timing import Stopwatch

Tensors = dict[str, torch.Tensor]
WAY_OUT = "use `with prune(model, method)`"
ROPE_DELTAS = "rope_deltas"
# one prompt, one way, one step: whatever the model's own settings say
ONE_STEP = {"max_new_tokens": 1, "num_beams": 1, "num_return_sequences": 1, "do_sample": False, "use_cache": False}


# how generate() goes on from a prompt, which is up to the call that gets what is prepared
GENERATION = (
    *("use_cache", "cache_implementation", "assistant_model", "prompt_lookup_num_tokens", "prefill_chunk_size"),
    *("generation_config", "max_new_tokens", "max_length", "do_sample", "num_beams", "num_return_sequences"),
    *("streamer", "logits_processor", "stopping_criteria", "temperature", "top_p", "top_k"),
)


class BackboneReached(Exception):  # noqa: N818 - it ends a pass that went well
    """The pass has reached the text backbone."""


@dataclass(frozen=True)
class BackboneCall:
    """The arguments of the text backbone, and the mask that the model around it was given."""

    kwargs: Kwargs
    attention_mask: object


def check_prompt(inputs: Tensors) -> None:
    """Raise ValueError where `inputs` are not those of a whole prompt; names what to do."""
    for name in ("labels", *CACHE_ARGUMENTS):
        if inputs.get(name) is not None:
            raise ValueError(f"prepare() wants a whole prompt for generate(), got {name}")
    for name in GENERATION:
        if inputs.get(name) is not None:
            raise ValueError(
                f"prepare() wants what the model's forward takes, got {name}: hand it to "
                f"model.generate(**prepare(model, method, **inputs), {name}=...)"
            )


def prepared_inputs(adapter: Adapter, method: Method | BlockMethod, report: Report | None, inputs: Tensors) -> Tensors:
    """Shortened inputs of generate(); `inputs` themselves where they show no image."""
    if method.positions == "calibrated":
        raise ValueError(
            f'positions="calibrated" wants a bias of the attention, which generate() takes none of: {WAY_OUT}'
        )
    caller = threading.get_ident()
    # another thread may be using the same model
    choice = choice_of(adapter, method, lambda: threading.get_ident() == caller)
    recorder = VisualTokenRecorder(choice.reader)
    plain = _backbone_call(adapter, recorder, inputs)
    visual = recorder.take()
    if visual is None:
        return dict(inputs)
    backbone_inputs = BackboneInputs.of(plain.kwargs, plain.attention_mask)
    check_arguments(plain.kwargs, backbone_inputs, adapter.backbone.config)
    if backbone_inputs.samples is not None:
        raise ValueError(f"prepare() wants one prompt a row for generate(), got packed rows: {WAY_OUT}")
    selection = Stopwatch(backbone_inputs.embeds.device)
    mask = backbone_inputs.masks(Past())[1]
    with selection.running():
        rows = Sequences(backbone_inputs.embeds, mask)
        selected = choice.select(rows, visual.images())
        _check_end(mask, selected.dropped, method.positions)
        wanted, index, real = _wanted(adapter, plain.kwargs, backbone_inputs, selected, method.positions)
    handed: Tensors = {name: wanted[name] for name in ("inputs_embeds", "position_ids")}  # type: ignore[misc]
    handed["attention_mask"] = real.long()
    handed |= {
        name: inputs[name].to(index.device).gather(1, index).masked_fill(~real, 0)
        for name in PER_TOKEN
        if inputs.get(name) is not None and inputs[name].shape == mask.shape
    }
    _check_generate(adapter, handed, wanted, real)
    if report is not None:
        report.method = spec.describe(method)
        costs = PrefillCosts.of(adapter.backbone)
        n_layers = len(costs.layers)
        lengths = Lengths(mask, [real] * n_layers, [(0, 0)] * n_layers)
        record = costs.record([selected.images], lengths, adapter.grid)
        report.add(choice.counted(replace(record, selection_ms=selection.milliseconds())))
    return handed


def _wanted(
    adapter: Adapter,
    kwargs: Kwargs,
    backbone_inputs: BackboneInputs,
    selected: Selection,
    positions: Positions,
) -> tuple[Kwargs, torch.Tensor, torch.Tensor]:
    """What the backbone has to be given; the columns [B, P] that stay, and which of them are real."""
    mask = backbone_inputs.masks(Past())[1]
    if selected.is_whole:
        index = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
        return {**kwargs, "position_ids": backbone_inputs.positions(Past())}, index, mask
    backbone = Backbone.of(adapter.backbone, positions)
    changed, index, prefix = shortened(backbone_inputs, Past(), selected, positions, backbone)
    return {**kwargs, **changed, **cut_per_token(kwargs, selected, index, prefix.mask)}, index, prefix.mask


def _check_generate(adapter: Adapter, handed: Tensors, wanted: Kwargs, real: torch.Tensor) -> None:
    """Start generate() on `handed`; raises ValueError where the backbone is given anything but what is `wanted`."""
    got = _backbone_call(adapter, VisualTokenRecorder(), handed).kwargs
    takes = inspect.signature(adapter.backbone.forward).parameters
    for name in sorted({*got, *wanted} & {*takes}):
        if not _agree(name, got.get(name), wanted.get(name), real):
            kind = type(adapter.model).__name__
            raise ValueError(f"{kind} hands its text backbone {name}, which generate() cannot be given: {WAY_OUT}")


def _agree(name: str, got: object, wanted: object, real: torch.Tensor) -> bool:
    """Whether the real tokens would notice no difference between two arguments of the backbone."""
    if name == "attention_mask" and got is None:
        # left out where no token is padding
        return bool(real.all()) and not is_made_ahead(wanted)
    if isinstance(got, torch.Tensor) and isinstance(wanted, torch.Tensor):
        if name == "position_ids" and got.shape == wanted.shape:
            # those of padding say nothing
            return torch.equal(got[..., real], wanted[..., real])
        return torch.equal(got, wanted)
    if isinstance(got, list | tuple) and isinstance(wanted, list | tuple):
        return len(got) == len(wanted) and all(_agree("", *pair, real) for pair in zip(got, wanted, strict=True))
    # switches and caches say nothing of single tokens
    return not any(isinstance(value, torch.Tensor | list | tuple | dict) for value in (got, wanted))


def _backbone_call(adapter: Adapter, recorder: VisualTokenRecorder, inputs: Tensors) -> BackboneCall:
    """What generate() would hand the backbone, which does not run."""
    caller, given, entered = threading.get_ident(), [], []

    def note(module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        if threading.get_ident() == caller:
            given.append(kwargs.get("attention_mask"))

    def stop(module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        # another thread may be using the same model
        if threading.get_ident() == caller:
            entered.append(dict(kwargs))
            raise BackboneReached

    kind, generate = type(adapter.model).__name__, getattr(adapter.model, "generate", None)
    writes = getattr(adapter.model, "prepare_inputs_for_generation", None)
    if generate is None or writes is None or "inputs_embeds" not in inspect.signature(writes).parameters:
        raise ValueError(f"want a generate() that takes inputs_embeds, {kind} has none: {WAY_OUT}")
    with ExitStack() as stack:
        stack.enter_context(adapter.watch(recorder))
        stack.enter_context(_without_memory(adapter.merger))
        stack.callback(before_forward(adapter.merger, note).remove)
        stack.callback(before_forward(adapter.backbone, stop).remove)
        try:
            generate(**inputs, **ONE_STEP)
        except BackboneReached:
            return BackboneCall(entered[0], given[-1])
    raise ValueError(f"{type(adapter.merger).__name__} never called its text backbone")


@contextmanager
def _without_memory(merger: nn.Module) -> Iterator[None]:
    """Afterwards the model remembers the pass before, by whose length models with mRoPE count on."""
    before = vars(merger).get(ROPE_DELTAS)
    try:
        yield
    finally:
        if ROPE_DELTAS in vars(merger):
            setattr(merger, ROPE_DELTAS, before)


def _check_end(mask: torch.Tensor, dropped: torch.Tensor, positions: Positions) -> None:
    """With gaps kept, generate() counts on from the last token: it must have stayed."""
    columns = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, columns, -1).amax(1).clamp(min=0)
    lost = dropped.gather(1, last[:, None]).flatten()
    if positions == "keep" and lost.any():
        row = int(lost.nonzero()[0])
        raise ValueError(
            f'row {row} ends with an image token that is dropped: put text behind it, take positions="compact", '
            "or use prune()"
        )
