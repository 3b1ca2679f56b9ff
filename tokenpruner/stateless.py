"""The stateless form: run the model up to its text backbone, thin what would have entered, and hand that back."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import torch
from torch import nn

from prunekernels import spec
from tokenpruner import positions, thin
from tokenpruner.adapter import Adapter, Sighting
from tokenpruner.measure import Costs, clock
from tokenpruner.method import Method
from tokenpruner.report import Report

Tensors = dict[str, torch.Tensor]


class Entered(Exception):  # noqa: N818 - it ends a pass that went well
    """The pass has reached the text backbone."""


def prepared(adapter: Adapter, method: Method, report: Report | None, inputs: Tensors) -> Tensors:
    """Thinned inputs of generate(); `inputs` themselves where they show no image."""
    sighting = Sighting()
    embeds = _embed(adapter, sighting, inputs)
    sight = sighting.take()
    if sight is None:
        return dict(inputs)
    started = clock(embeds.device)
    attention_mask = inputs.get("attention_mask")
    if attention_mask is None:
        attention_mask = torch.ones(embeds.shape[:2], dtype=torch.int64, device=embeds.device)
    if attention_mask.shape != embeds.shape[:2]:
        raise ValueError(f"want attention_mask {[*embeds.shape[:2]]}, got {[*attention_mask.shape]}")
    attention_mask = attention_mask.to(embeds.device)
    mask = attention_mask.bool()
    choice = thin.choose(embeds, mask, sight.images(), method, adapter.grid)
    position_ids = inputs.get("position_ids")
    if position_ids is None:
        position_ids = positions.from_mask(attention_mask)
    position_ids = positions.given(position_ids, (embeds.shape[0], embeds.shape[1]), 0, embeds.device)
    if not choice.is_whole:
        _check_end(mask, choice.dropped, method)
        tokens = thin.gather(thin.Tokens(embeds, mask, position_ids), choice.dropped, method.positions)
        embeds, position_ids = tokens.embeds, tokens.position_ids
        attention_mask = tokens.mask.to(attention_mask.dtype)
    if report is not None:
        report.method = spec.describe(method)
        seconds = clock(embeds.device) - started
        report.prefills.append(Costs.of(adapter.backbone).record(choice, mask, (0, 0), seconds))
    return {"inputs_embeds": embeds, "attention_mask": attention_mask, "position_ids": position_ids}


def _embed(adapter: Adapter, sighting: Sighting, inputs: Tensors) -> torch.Tensor:
    """The embeddings of text and images, as they enter the backbone."""
    caller, entered = threading.get_ident(), []

    def stop(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        # another thread may be using the same model
        if threading.get_ident() == caller:
            entered.append(kwargs["inputs_embeds"])
            raise Entered

    with ExitStack() as stack:
        stack.enter_context(adapter.watch(sighting))
        stack.callback(adapter.backbone.register_forward_pre_hook(stop, with_kwargs=True).remove)
        try:
            adapter.merger(**inputs)
        except Entered:
            return entered[0]
    raise ValueError(f"{type(adapter.merger).__name__} never called its text backbone")


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
