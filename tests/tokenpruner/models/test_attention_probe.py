"""Attention read from queries and keys: by hand, against float64 matrices, and as a layer's own code makes them."""

from __future__ import annotations

import math

import pytest
import torch

from tests.tokenpruner.caches import with_cache
from tests.tokenpruner.inside_decoder.layer_replay import weights_of
from tokenpruner import LayerContext, Stage, prune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop
from tokenpruner.models import attention_probe
from tokenpruner.models.attention import Attention
from tokenpruner.models.attention_probe import AttentionInputs, attention_of, attention_of_row, read

L, PAST, D = 7, 3, 8


def drawn(n_heads=4, n_groups=2, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(n_heads, L, D, generator=generator).to(dtype)
    return q, torch.randn(n_groups, PAST + L, D, generator=generator).to(dtype)


def matrix(q, k, scaling, seen, softcap=None):
    """All weights [H, L, S] in float64, head by head."""
    found = []
    for head in range(len(q)):
        scores = scaling * q[head].double() @ k[head // (len(q) // len(k))].double().T
        scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
        found.append(scores.masked_fill(~seen, -torch.inf).softmax(-1))
    return torch.stack(found)


CAUSAL = torch.ones(L, PAST + L).tril(PAST).bool()


def test_the_last_token_by_hand():
    # scores 0, 0, log 2 and log 4 give 1, 1, 2 and 4 parts of 8; the first column is no patch
    k = torch.tensor([[[0.0], [0.0], [math.log(2)], [math.log(4)]]])
    attention = Attention(torch.tensor([[[5.0], [5.0], [5.0], [1.0]]]), k, scaling=1.0)
    context = LayerContext(
        hidden=torch.zeros(3, 1),
        kept=torch.arange(3),
        size=3,
        stage=Stage(1, 0.5, reads=0),
        columns=torch.tensor([1, 2, 3]),
        text=torch.tensor([0]),
        attention=attention,
    )
    torch.testing.assert_close(FastV(layer=1).importance(context), torch.tensor([1.0, 2.0, 4.0]) / 8)
    assert FastV(layer=1).select(context).tolist() == [1, 2]


def test_of_equal_tokens_the_earlier_ones_stay():
    attention = Attention(torch.ones(2, L, D), torch.ones(1, L, D), scaling=0.1)
    context = LayerContext(
        torch.zeros(5, D), torch.arange(5), 5, Stage(1, 0.5, reads=0), torch.arange(1, 6), torch.tensor([0]), attention
    )
    assert FastV().select(context).tolist() == [0, 1, 2]


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rows_and_sums_agree_with_the_matrix(softcap, window, dtype):
    q, k = drawn(dtype=dtype)
    seen = CAUSAL if window is None else CAUSAL & ~torch.ones(L, PAST + L).tril(PAST - window).bool()
    attention = Attention(q, k, 0.3, None if window is None else seen, softcap)
    wanted = matrix(q, k, 0.3, seen, softcap)
    rows = torch.tensor([6, 0, 3])
    torch.testing.assert_close(attention.weights(rows).double(), wanted[:, rows, PAST:], rtol=0, atol=1e-6)
    torch.testing.assert_close(attention.received().double(), wanted.sum(1)[:, PAST:], rtol=0, atol=5e-6)
    some = wanted[:, rows].sum(1)[:, PAST:]
    torch.testing.assert_close(attention.received(rows).double(), some, rtol=0, atol=5e-6)
    assert attention.weights(rows).dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    raw = 0.3 * q[0].double() @ k[0].double().T
    raw = raw if softcap is None else softcap * torch.tanh(raw / softcap)
    torch.testing.assert_close(attention.logits(rows)[0].double(), raw[rows, PAST:], rtol=0, atol=1e-6)


def test_sums_in_blocks(monkeypatch):
    from tokenpruner.models import attention as module

    q, k = drawn()
    seen = CAUSAL.clone()
    seen[5, 1] = False
    whole = Attention(q, k, 0.3, seen).received()
    monkeypatch.setattr(module, "MAX_WEIGHTS", 1)
    torch.testing.assert_close(Attention(q, k, 0.3, seen).received(), whole)


@pytest.mark.parametrize("form", ["bool", "added", "none", "window"])
def test_a_row_without_its_padding(form):
    """Two columns of padding in front, one slot of the past empty: what is left is the row alone."""
    q, k = drawn()
    real, past_real = torch.tensor([False, False, *[True] * 5]), torch.tensor([True, False, True])
    seen = CAUSAL & torch.cat([past_real, real]) if form in ("bool", "added") else CAUSAL
    if form == "window":
        seen = seen & ~torch.ones(L, PAST + L).tril(PAST - 4).bool()
    mask = {"bool": seen[None, None], "added": torch.zeros(1, 1, L, PAST + L).masked_fill(~seen, -1e30)}.get(form)
    reading = AttentionInputs(q[None], k[None], k[None], 0.3, mask, window=4 if form == "window" else None)
    attention = attention_of_row(reading, 0, real, past_real)
    keys = torch.cat([past_real, real]).nonzero().flatten()
    wanted = matrix(q[:, 2:], k[:, keys], 0.3, seen[2:][:, keys])
    assert attention.n_past == 2
    assert (attention.allowed is None) == (form != "window")
    rows = torch.arange(5)
    torch.testing.assert_close(attention.weights(rows).double(), wanted[:, :, 2:], rtol=0, atol=1e-6)


def test_a_layer_is_read_and_left_as_it_was(model):
    layer = model.model.language_model.layers[1]
    hidden = torch.randn(1, 9, 32, dtype=torch.float64)
    where = torch.arange(9)[None]
    given = {"position_embeddings": model.model.language_model.rotary_emb(hidden, where), "attention_mask": None}
    before = {name: dict(vars(module)) for name, module in layer.named_modules()}
    reading = read(layer, hidden, given)
    assert {name: dict(vars(module)) for name, module in layer.named_modules()} == before
    attention = attention_of_row(reading, 0, torch.ones(9).bool(), torch.ones(0).bool())
    wanted = weights_of(layer, hidden[0], where[0])
    torch.testing.assert_close(attention.weights(torch.arange(9)), wanted, rtol=0, atol=1e-6)
    assert reading.v.shape == (1, 2, 9, 8)
    assert attention_of(layer)[0] == "self_attn"
    assert attention_of(layer.mlp) is None


def test_a_layer_is_read_behind_its_cache(model):
    """Keys of an earlier turn stand before the others; reading writes nothing."""
    from transformers import DynamicCache

    layer, rotary = model.model.language_model.layers[0], model.model.language_model.rotary_emb
    hidden, where = torch.randn(1, 9, 32, dtype=torch.float64), torch.arange(9)[None]
    tables, cache = rotary(hidden, where), DynamicCache(config=model.config.text_config)
    first, second = (tuple(table[:, part] for table in tables) for part in (slice(0, 4), slice(4, 9)))
    with torch.no_grad():
        layer(hidden[:, :4], position_embeddings=first, attention_mask=None, **with_cache(layer, cache))
        given = {"position_embeddings": second, "attention_mask": None, **with_cache(layer, cache)}
        reading = read(layer, hidden[:, 4:], given)
    assert cache.layers[0].keys.shape[-2] == 4
    attention = attention_of_row(reading, 0, torch.ones(5).bool(), torch.ones(4).bool())
    wanted = weights_of(layer, hidden[0], where[0])
    torch.testing.assert_close(attention.weights(torch.arange(5)), wanted[:, 4:, 4:], rtol=0, atol=1e-6)


def test_images_are_ranked_each_by_itself(model, prompt):
    """Frames and images do not compete: each keeps its own share, whatever the other's attention."""
    inputs = prompt([["I", 1, "I", 2]])
    inputs["pixel_values"][0] *= 10
    with torch.no_grad(), prune(model, FastV(keep_ratio=0.3)) as report:
        model(**inputs)
    assert [len(image.kept) for image in report.images] == [5, 5]


def test_costs_by_hand(model, prompt):
    with torch.no_grad(), prune(model, FastV(keep_ratio=0.25)) as report:
        model(**prompt([[2, "I", 3]]))

    def layer(n):
        # hidden 32, attention 4 x 8 wide, keys 2 x 8, MLP 48
        return 2 * n * (2 * 32 * 32 + 2 * 32 * 16) + 4 * n * n * 32 + 2 * n * 3 * 32 * 48

    assert report.flops_before == 3 * layer(21)
    assert report.flops_after == 2 * layer(21) + layer(9)
    assert report.kv_bytes_before == 3 * 21 * 2 * 16 * 8
    assert report.kv_bytes_after == (21 + 21 + 9) * 2 * 16 * 8
    assert report.layers == [(21, 21), (21, 21), (21, 9)]
    assert report.selection_ms > 0


PROBED = [
    (FastV(0.25, layer=1), 0),
    (FastV(0.25, layer=2, mode="skip"), 1),
    (PyramidDrop(n_stages=2), 1),
]


@pytest.mark.parametrize(("method", "layer"), PROBED)
def test_only_what_is_looked_at_is_projected(model, prompt, monkeypatch, method, layer):
    """Keys of all tokens, queries of the last ones, no values; and the picks are those of all queries."""
    inputs, seen = prompt([[2, "I", 3], [4, "I", 6]], "right"), {"q_proj": [], "k_proj": [], "v_proj": []}
    attention = model.model.language_model.layers[layer].self_attn
    for name, lengths in seen.items():
        getattr(attention, name).register_forward_hook(
            lambda module, args, output, lengths=lengths: lengths.append(args[0].shape[1])
        )
    with torch.no_grad(), prune(model, method) as report:
        model(**inputs)
        # one of each row for the choice, one that nobody reads; then comes the layer itself
        assert {name: lengths[0] for name, lengths in seen.items()} == {"q_proj": 2, "k_proj": 26, "v_proj": 1}
        monkeypatch.setattr(attention_probe, "_needed_projections", lambda *_: {})
        model(**inputs)
    first, second = report.prefills
    assert first.images == second.images
    assert report.visual_after < report.visual_before
