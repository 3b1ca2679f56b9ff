"""Flows by hand: a router that knows some inputs, and a loop over layers that cuts and skips as a schedule says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tests.tokenpruner.inside_decoder.layer_replay import IMAGE, N, through, weights_of
from tokenpruner.base.layer_flow import Flow
from tokenpruner.methods._flow_router import FlowRouter

__all__ = ["IMAGE", "Run", "replay", "rigged"]


def rigged(schedules: Sequence[str], inputs: int, known: Mapping[int, torch.Tensor] | None = None) -> FlowRouter:
    """A router of noise, or one that gives an input as in `known` the schedule of that number."""
    torch.manual_seed(2)
    router = FlowRouter(schedules, inputs, width=len(schedules)).double()
    for parameter in router.parameters():
        torch.nn.init.normal_(parameter)
    if known is not None:
        # a unit for each known input, which answers it alone
        centre = torch.stack([*known.values()]).mean(0)
        with torch.no_grad():
            for parameter in router.parameters():
                parameter.zero_()
            router.mean.copy_(centre)
            router.scale.fill_(1)
            for place, features in known.items():
                own = features.double() - centre
                router.layers[0].weight[place] = 4 * own / own.square().sum()
                router.layers[2].weight[place, place] = 1
    return router


@dataclass
class Run:
    """`logits` [P, V] of what is left, the `tokens` that each layer saw, the picks by image."""

    logits: torch.Tensor
    tokens: list[int]
    picks: list[list[int]]


@torch.no_grad()
def replay(model, row, flow: Flow, more: Sequence[int] = (), picked: Sequence[list[int] | None] = ()) -> Run:
    """One row without padding, then the tokens `more`, which take no part in the choice.

    `picked` names what is kept of an image where that is known already.
    """
    ids = torch.cat([row["input_ids"][0], torch.tensor(list(more), dtype=torch.int64)])
    hidden, last = model.get_input_embeddings()(ids), len(row["input_ids"][0]) - 1
    places = torch.empty(0, N).long()
    if "pixel_values" in row:
        places = (ids == IMAGE).nonzero().flatten().view(-1, N)
        hidden[places.flatten()] = torch.cat([*model.model.get_image_features(row["pixel_values"]).pooler_output])
    kept, left, tokens, look = torch.arange(len(ids)), [[*range(N)] for _ in places], [], torch.empty(0)
    cuts = dict(flow.cuts)
    for number, layer in enumerate(model.model.language_model.layers):
        if number in cuts:
            n, gone = math.ceil(N * cuts[number] - 1e-9), set()
            for image, columns in enumerate(places.tolist()):
                told = picked[image] if picked else None
                ranked = sorted(left[image], key=lambda i: (-look[columns[i]], i))  # noqa: B023
                left[image] = sorted(ranked[:n]) if told is None else told
                gone |= {column for place, column in enumerate(columns) if place not in left[image]}
            stays = torch.tensor([int(column) not in gone for column in kept])
            hidden, kept = hidden[stays], kept[stays]
        weights = weights_of(layer, hidden, kept)
        # what the last token of the prompt attends to, by the column as it was
        look = torch.zeros(len(ids), dtype=weights.dtype)
        look[kept] = weights[:, (kept == last).nonzero().item()].mean(0)
        look = look.tolist()
        if number not in flow.skipped:
            hidden = through(layer, hidden, weights)
        tokens.append(0 if number in flow.skipped else len(kept))
    return Run(model.lm_head(model.model.language_model.norm(hidden)), tokens, left)
