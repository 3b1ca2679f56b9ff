"""ATP by hand: modules whose thresholds differ, and a replay of dropping and soft masks with our own attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tests.tokenpruner.inside_decoder.layer_replay import rotated, through
from tokenpruner.training import ATPModules

IMAGE, N, IGNORED = 5, 16, -100
CLOSE = {"rtol": 0, "atol": 2e-5}
GREEDY = {"do_sample": False, "max_new_tokens": 6, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5], [3, "I", "I", 1]]
# the sampled tokens of a picture of four lines, by rate
SAMPLED = {0.25: [5, 7, 13, 15], 0.0625: [10]}


def trained(layers=(1, 2), seed=2, spread=0.3):
    """Modules whose thresholds differ from image to image."""
    torch.manual_seed(seed)
    modules = ATPModules(layers, width=8).double()
    for parameter in modules.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return modules


@dataclass
class ByHand:
    """`logits` [P, V] of what is left, its columns `kept`, the `picks` by image, soft `counts` [images, cuts]."""

    logits: torch.Tensor
    kept: list[int]
    picks: list[list[int]]
    counts: torch.Tensor


def scores_of(layer, hidden, positions):
    """Scores before the softmax [heads, P, P] of a Llama layer, in float64, nothing masked."""
    attention, entering = layer.self_attn, layer.input_layernorm(hidden)
    size = attention.head_dim
    queries, keys = attention.q_proj(entering), attention.k_proj(entering)
    group = queries.shape[-1] // keys.shape[-1]
    found = []
    for head in range(queries.shape[-1] // size):
        q = rotated(queries[:, head * size : (head + 1) * size], positions)
        k = rotated(keys[:, head // group * size : (head // group + 1) * size], positions)
        found.append(q @ k.T / size**0.5)
    return torch.stack(found)


def unit(scores, weight):
    average = (scores * weight).sum() / weight.sum()
    variance = ((scores - average).square() * weight).sum() / weight.sum()
    return ((scores - average) / variance.sqrt()).sigmoid()


def margin(module, own, cross, weight, sampled):
    """By how much tokens are above a threshold, with the sampled ones' score in `sampled`."""
    theta_r, theta_s = module(torch.stack([(own * weight).sum() / weight.sum(), cross.sum()]))
    redundancy = (unit(own, weight) + unit(cross, weight)) / 2
    return torch.maximum(redundancy - theta_r, sampled - theta_s)


def replay(model, row, method, modules, temperature=None, more=(), n_prompt=None):
    """One row without padding, then the tokens `more`; soft masks where there is a temperature."""
    ids = torch.cat([row["input_ids"][0], torch.tensor(list(more), dtype=torch.int64)])
    n_prompt = len(row["input_ids"][0]) if n_prompt is None else n_prompt
    hidden = model.get_input_embeddings()(ids)
    places = torch.empty(0, N).long()
    if "pixel_values" in row:
        places = (ids == IMAGE).nonzero().flatten().view(-1, N)
        features = model.model.get_image_features(row["pixel_values"]).pooler_output
        hidden = hidden.index_put((places.flatten(),), torch.cat(list(features)))
    kept, picks, counts = list(range(len(ids))), [list(range(N)) for _ in places], []
    masks = torch.zeros(len(ids), dtype=hidden.dtype)
    for number, layer in enumerate(model.model.language_model.layers):
        scores = scores_of(layer, hidden, torch.tensor(kept))
        future = torch.ones(len(kept), len(kept)).triu(1).bool()
        weights = (scores + masks).masked_fill(future, -torch.inf).softmax(-1)
        hidden = through(layer, hidden, weights)
        if number + 1 not in method.layers:
            continue
        cut, new, left = method.layers.index(number + 1), [], []
        rate = method.rates[cut]
        for image, columns in enumerate(places.tolist()):
            local = [kept.index(columns[token]) for token in picks[image]]
            text = [i for i, column in enumerate(kept) if columns[-1] < column < n_prompt and int(ids[column]) != IMAGE]
            weight = masks[local].exp()
            received = (scores[:, local][:, :, local] * weight[:, None]).sum(1) / weight.sum()
            looked = weights[:, text][:, :, local].mean((0, 1)) if text else torch.zeros(len(local)).double()
            sampled = torch.tensor([1 - rate * method.sample_weight if i in SAMPLED[rate] else 0 for i in picks[image]])
            found = margin(modules.cuts[cut], received.mean(0), looked, weight, sampled)
            new.append((local, masks[local] + torch.nn.functional.logsigmoid((temperature or 0) * found)))
            left.append(new[-1][1].exp().sum())
            if temperature is None:
                stays = (found > 0).tolist() if (found > 0).any() else [i == found.argmax() for i in range(len(found))]
                picks[image] = [token for token, stay in zip(picks[image], stays, strict=True) if stay]
        if temperature is not None:
            for local, values in new:
                masks = masks.index_put((torch.tensor(local),), values)
            counts.append(torch.stack(left) if left else torch.zeros(0))
            continue
        alive = {columns[token] for columns, own in zip(places.tolist(), picks, strict=True) for token in own}
        gone = {column for columns in places.tolist() for column in columns} - alive
        stay = [i for i, column in enumerate(kept) if column not in gone]
        hidden, kept, masks = hidden[stay], [kept[i] for i in stay], masks[stay]
    logits = model.lm_head(model.model.language_model.norm(hidden))
    return ByHand(logits, kept, picks, torch.stack(counts, 1) if counts else torch.zeros(0))


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), **CLOSE)


def stepwise(out):
    return torch.stack(out.logits, 1)
