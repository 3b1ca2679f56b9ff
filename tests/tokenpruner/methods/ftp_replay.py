"""FTP by hand: a router whose choices differ, and a loop that computes every token and puts back those that pass by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from tests.tokenpruner.inside_decoder.layer_replay import IMAGE, N, through, weights_of
from tokenpruner.training import FTPRouter

SCHEDULE = (0.0, 0.4, 0.7)


def trained(schedule=SCHEDULE, seed=5):
    """A router that lets some tokens pass and not others: it computes half of what it may see."""
    torch.manual_seed(seed)
    router = FTPRouter(schedule, width=8).double()
    for parameter in router.parameters():
        torch.nn.init.normal_(parameter, std=1.5)
    with torch.no_grad():
        router.layers[2].bias -= router(torch.rand(256, 4, dtype=torch.float64)).median()
    return router


def four_factors(attention, share):
    """What the router reads of one image's tokens, a row a token."""
    found = []
    for place, own in enumerate(attention):
        more = sum(other > own or (other == own and i < place) for i, other in enumerate(attention))
        found.append([(place + 0.5) / N, math.log(1 + N * own), (more + 0.5) / N, share])
    return torch.tensor(found, dtype=torch.float64)


def routed(router, attention, share):
    """y of one image's tokens, with the gradient of p."""
    logits = router(four_factors(attention.tolist(), share))
    hard = [float(logit > 0 or place == int(logits.argmax())) for place, logit in enumerate(logits.tolist())]
    p = logits.sigmoid()
    return torch.tensor(hard).double() + p - p.detach(), logits


def first_and_last(attention, share):
    """The static router."""
    n = math.ceil(N * (1 - share) - 1e-9)
    return torch.tensor([float(place == 0 or place > N - n) for place in range(N)]).double()


@dataclass
class ByHand:
    """`logits` [L, V]; by routed layer and image the tokens `computed`, the router's `scores` and the `attention`."""

    logits: torch.Tensor
    computed: list[list[list[int]]] = field(default_factory=list)
    scores: list[list[torch.Tensor]] = field(default_factory=list)
    attention: list[list[torch.Tensor]] = field(default_factory=list)


def replay(model, row, shares, router=None, more=(), n_prompt=None):
    """One row without padding, then the tokens `more`, with a router or the static one."""
    ids = torch.cat([row["input_ids"][0], torch.tensor(list(more), dtype=torch.int64)])
    n_prompt = len(row["input_ids"][0]) if n_prompt is None else n_prompt
    hidden, places = model.get_input_embeddings()(ids), torch.empty(0, N).long()
    if "pixel_values" in row:
        places = (ids == IMAGE).nonzero().flatten().view(-1, N)
        features = model.model.get_image_features(row["pixel_values"]).pooler_output
        hidden = hidden.index_put((places.flatten(),), torch.cat(list(features)))
    found = ByHand(hidden)
    for layer, share in zip(model.model.language_model.layers, shares, strict=True):
        weights = weights_of(layer, hidden, torch.arange(len(ids)))
        after, gate = through(layer, hidden, weights), torch.ones(len(ids)).double()
        gates, scores, looks = [], [], []
        for columns in places if share else ():
            text = [i for i in range(int(columns[-1]) + 1, n_prompt) if int(ids[i]) != IMAGE]
            look = weights[:, text][:, :, columns].mean((0, 1)).detach() if text else torch.zeros(N).double()
            y, own = (first_and_last(look, share), None) if router is None else routed(router, look, share)
            gate = gate.index_put((columns,), y)
            gates.append((y > 0.5).nonzero().flatten().tolist())
            scores.append(own)
            looks.append(look)
        hidden = gate[:, None] * after + (1 - gate)[:, None] * hidden
        if share:
            found.computed.append(gates)
            found.scores.append(scores)
            found.attention.append(looks)
    found.logits = model.lm_head(model.model.language_model.norm(hidden))
    return found
