"""A chain by hand: a method before the decoder, then a cut inside it, layer by layer with our own attention."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from tests.tokenpruner.inside_decoder.layer_replay import through, weights_of
from tokenpruner import Context
from tokenpruner.base.layer_budget import BudgetedLayerMethod
from tokenpruner.base.schedules.one_cut import OneCut

IMAGE, N = 5, 16
CLOSE = {"rtol": 0, "atol": 2e-5}
GREEDY = {"do_sample": False, "max_new_tokens": 4, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3], [4], ["I", "I", 1], [1, "I", 2]]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), **CLOSE)


@torch.no_grad()
def chained(model, row, method, ratio, way):
    """`method` before the decoder, then FastV at layer 1 with the fraction `ratio`; logits and picks of each image."""
    ids = row["input_ids"][0]
    hidden = model.get_input_embeddings()(ids).clone()
    kept, picks = list(range(len(ids))), []
    places = (ids == IMAGE).nonzero().flatten().view(-1, N).tolist() if "pixel_values" in row else []
    for number, columns in enumerate(places):
        features = model.model.get_image_features(row["pixel_values"]).pooler_output[number]
        context = Context(features, (4, 4), 0, number)
        own = method.select(context)
        merge = method.merge(context, own)
        hidden[columns] = features
        for place, pick in enumerate(own.tolist()) if merge is not None else ():
            hidden[columns[pick]] = features[merge.target == place].double().mean(0)
        gone = {column for place, column in enumerate(columns) if place not in own.tolist()}
        kept = [column for column in kept if column not in gone]
        picks.append(own.tolist())
    hidden, seen = hidden[kept], None

    def places_of(kept):
        return torch.arange(len(kept)) if way == "compact" else torch.tensor(kept)

    for number, layer in enumerate(model.model.language_model.layers):
        if number == 1:
            before = kept
            for image, columns in enumerate(places):
                n = math.ceil(len(picks[image]) * ratio - 1e-9)
                ranked = sorted(picks[image], key=lambda i: (-float(seen[before.index(columns[i])]), i))  # noqa: B023
                gone = {columns[i] for i in ranked[n:]}
                picks[image] = sorted(ranked[:n])
                kept = [column for column in kept if column not in gone]
            hidden = hidden[[before.index(column) for column in kept]]
        weights = weights_of(layer, hidden, places_of(kept))
        seen = weights[:, -1].mean(0)
        hidden = through(layer, hidden, weights)
    return model.lm_head(model.model.language_model.norm(hidden)), picks


@dataclass(frozen=True)
class First(BudgetedLayerMethod):
    """Rule: the first tokens of each image; reads nothing."""

    layer: int = 1

    @property
    def schedule(self):
        """One cut."""
        return OneCut(self.layer)

    def keep(self, context, n):
        """The first `n`."""
        return torch.arange(n)
