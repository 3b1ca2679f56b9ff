"""A LLaVA on a Llama computed layer by layer with our own attention, cut by hand at some layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

IMAGE, N = 5, 16


@dataclass
class Cut:
    """Before `layer` keep ceil(16 * `ratio`) of each image by the last token's attention in layer `reads`."""

    layer: int
    ratio: float
    reads: int


@dataclass
class Replayed:
    """`logits` [P, V] of what is left, its columns `kept`, the `tokens` that each layer saw, the picks by image."""

    logits: torch.Tensor
    kept: list[int]
    tokens: list[int]
    picks: list[list[int]]


def rotated(x: torch.Tensor, positions: torch.Tensor, theta: float = 10000.0) -> torch.Tensor:
    """Rotary positions of x [P, D]: halves i and i + D/2 turn together by position * theta^(-2i/D)."""
    half = x.shape[-1] // 2
    angle = positions.double()[:, None] * theta ** (-torch.arange(half).double() / half)
    first, second = x[:, :half], x[:, half:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def weights_of(layer: nn.Module, hidden: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Causal attention [heads, P, P] of a Llama layer, head by head, in float64."""
    attention, entering = layer.self_attn, layer.input_layernorm(hidden)
    size = attention.head_dim
    queries, keys = attention.q_proj(entering), attention.k_proj(entering)
    n_heads, group = queries.shape[-1] // size, queries.shape[-1] // keys.shape[-1]
    found = []
    for head in range(n_heads):
        q = rotated(queries[:, head * size : (head + 1) * size], positions)
        k = rotated(keys[:, head // group * size : (head // group + 1) * size], positions)
        scores = (q @ k.T / math.sqrt(size)).masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf)
        found.append(scores.softmax(-1))
    return torch.stack(found)


def through(layer: nn.Module, hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The layer's output [P, D] for those attention weights."""
    attention, entering = layer.self_attn, layer.input_layernorm(hidden)
    values, size = attention.v_proj(entering), attention.head_dim
    group = len(weights) * size // values.shape[-1]
    heads = [w @ values[:, h // group * size : (h // group + 1) * size] for h, w in enumerate(weights)]
    hidden = hidden + attention.o_proj(torch.cat(heads, -1))
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


@torch.no_grad()
def replay(
    model: nn.Module,
    row: dict[str, torch.Tensor],
    cuts: Sequence[Cut],
    more: Sequence[int] = (),
    picked: Sequence[list[int] | None] = (),
    way: str = "keep",
) -> Replayed:
    """One row without padding, then the tokens `more`, which take no part in the choice.

    `picked` names what is kept of an image where that is known already. In the `way` "skip" nothing leaves: every
    layer computes all tokens, and those that are cut are put back as they were. In the way "compact" tokens behind a
    cut are numbered anew.
    """
    ids = torch.cat([row["input_ids"][0], torch.tensor(list(more), dtype=torch.int64)])
    hidden = model.get_input_embeddings()(ids)
    last = len(row["input_ids"][0]) - 1
    places = (ids == IMAGE).nonzero().flatten().view(-1, N) if "pixel_values" in row else torch.empty(0, N).long()
    if "pixel_values" in row:
        features = model.model.get_image_features(row["pixel_values"]).pooler_output
        hidden[places.flatten()] = torch.cat(list(features))
    kept, picks = list(range(len(ids))), [list(range(N)) for _ in places]
    read: dict[int, dict[int, float]] = {}
    skips = way == "skip"

    def places_of(kept: list[int]) -> torch.Tensor:
        return torch.arange(len(ids)) if skips else torch.arange(len(kept)) if way == "compact" else torch.tensor(kept)

    tokens = []
    for number, layer in enumerate(model.model.language_model.layers):
        weights = weights_of(layer, hidden, places_of(kept))
        for cut in cuts:
            if cut.reads == number:
                there = list(range(len(ids))) if skips else kept
                seen = weights[:, there.index(last)].mean(0)
                read[cut.layer] = dict(zip(there, seen.tolist(), strict=True))
            if cut.layer == number:
                before = kept
                for image, columns in enumerate(places.tolist()):
                    ranked = sorted(picks[image], key=lambda i: (-read[cut.layer][columns[i]], i))  # noqa: B023
                    own = sorted(ranked[: math.ceil(N * cut.ratio - 1e-9)])
                    picks[image] = own if not picked or picked[image] is None else picked[image]
                    gone = {column for i, column in enumerate(columns) if i not in picks[image]}
                    kept = [column for column in kept if column not in gone]
                if not skips:
                    hidden = hidden[[before.index(column) for column in kept]]
                    weights = weights_of(layer, hidden, places_of(kept))
        tokens.append(len(kept))
        after = through(layer, hidden, weights)
        if skips:
            after = torch.stack([after[i] if i in kept else hidden[i] for i in range(len(ids))])
        hidden = after
    return Replayed(model.lm_head(model.model.language_model.norm(hidden)), kept, tokens, picks)
