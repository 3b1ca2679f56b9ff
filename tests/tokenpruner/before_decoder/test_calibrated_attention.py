"""RESTORE's calibration of the attention against the formula written out key by key, and what comes behind."""

from __future__ import annotations

import math

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.caches import cache_from, followed, with_cache
from tests.tokenpruner.inside_decoder.layer_replay import rotated, through
from tokenpruner import Context, prepare, prune
from tokenpruner.decoder.calibration import Calibration
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pool import Pool
from tokenpruner.methods.stride import Stride

IMAGE, N = 5, 16
CLOSE = {"rtol": 0, "atol": 2e-5}
GREEDY = {"do_sample": False, "max_new_tokens": 4, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3], [4], ["I", "I", 1], [1, "I", 2]]
METHODS = [DivPrune(n_keep=5, positions="calibrated"), Pool(n_keep=5, positions="calibrated")]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), **CLOSE)


def added(distance, size, width):
    """b of one pair, as printed: log of s (c - D), D = 2 / d sum_j cos(x theta_j)."""
    alike = 2 / width * sum(math.cos(distance * 10000 ** (-2 * j / width)) for j in range(width // 2))
    return math.log(size * (2 - alike))


@torch.no_grad()
def replayed(model, row, method, more=(), n_plain=0):
    """One row without padding and the tokens `more`, layer by layer; logits of what is left.

    The first `n_plain` tokens were read in an earlier turn, before anything was lost.
    """
    ids = torch.cat([row["input_ids"][0], torch.tensor([*more], dtype=torch.int64)])
    hidden = model.get_input_embeddings()(ids).clone()
    places = (ids == IMAGE).nonzero().flatten().view(-1, N).tolist() if "pixel_values" in row else []
    kept, sizes = list(range(len(ids))), [1] * len(ids)
    for number, columns in enumerate(places):
        features = model.model.get_image_features(row["pixel_values"]).pooler_output[number]
        context = Context(features, (4, 4), 0, number)
        picks = method.select(context)
        merge = method.merge(context, picks)
        hidden[columns] = features
        for place, pick in enumerate(picks.tolist()) if merge is not None else ():
            hidden[columns[pick]] = features[merge.target == place].double().mean(0)
            sizes[columns[pick]] = int((merge.target == place).sum())
        gone = {column for place, column in enumerate(columns) if place not in picks.tolist()}
        kept = [column for column in kept if column not in gone]
    hidden, where = hidden[kept], torch.tensor(kept)
    for layer in model.model.language_model.layers:
        attention, entering = layer.self_attn, layer.input_layernorm(hidden)
        width = attention.head_dim
        queries, keys = attention.q_proj(entering), attention.k_proj(entering)
        bias = torch.zeros(len(kept), len(kept), dtype=torch.float64)
        for i, place in enumerate(kept if len(kept) < len(ids) else ()):
            for j in range(i + 1 if i >= n_plain else 0):
                bias[i, j] = added(place - kept[j], sizes[kept[j]], width)
        group, weights = queries.shape[-1] // keys.shape[-1], []
        for head in range(queries.shape[-1] // width):
            q = rotated(queries[:, head * width : (head + 1) * width], where)
            k = rotated(keys[:, head // group * width : (head // group + 1) * width], where)
            scores = q @ k.T / math.sqrt(width) + bias
            weights.append(scores.masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf).softmax(-1))
        hidden = through(layer, hidden, torch.stack(weights))
    return model.lm_head(model.model.language_model.norm(hidden))


def test_the_bias_by_hand():
    theta = torch.tensor([1.0, 0.1])
    positions, sizes = torch.tensor([[0, 3, 4]]), torch.tensor([[1.0, 4.0, 1.0]]).log()
    made = Calibration(theta, positions, sizes, torch.tensor([True])).bias(2)
    assert made.shape == (1, 1, 2, 3)
    for query, place in enumerate((3, 4)):
        for key, other in enumerate((0, 3, 4)):
            alike = (math.cos(place - other) + math.cos(0.1 * (place - other))) / 2
            wanted = math.log((1, 4, 1)[key] * (2 - alike))
            assert float(made[0, 0, query, key]) == pytest.approx(wanted, abs=1e-6)
    # a key at its query's own place keeps its share, and rows that lost nothing keep theirs
    assert float(made[0, 0, 1, 2]) == pytest.approx(0, abs=1e-7)
    assert not Calibration(theta, positions, sizes, torch.tensor([False])).bias(3).any()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_attention_is_the_formula(make_model, prompt, singles, method, attention):
    model, inputs = make_model(attention=attention), prompt(RAGGED)
    with torch.no_grad(), prune(model, method) as report:
        together = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
        rows = [model(**alone).logits[0] for alone in singles(inputs)]
    assert "positions=calibrated" in report.method
    for row, alone in enumerate(singles(inputs)):
        wanted = replayed(model, alone, method)
        close(rows[row], wanted)
        close(together[row, -len(wanted) :], wanted)
        close(uncached[row, -len(wanted) :], wanted)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_each_step_is_the_formula(model, prompt, singles, method):
    inputs = prompt(RAGGED)
    with prune(model, method):
        out = model.generate(**inputs, **GREEDY)
    steps = torch.stack(out.logits, 1)
    told = out.sequences[:, inputs["input_ids"].shape[1] :]
    for row, alone in enumerate(singles(inputs)):
        close(steps[row], replayed(model, alone, method, told[row, :-1].tolist())[-4:])


def test_beams_and_turns_go_on_from_its_cache(model, prompt):
    inputs, method = prompt(RAGGED[:1] + RAGGED[3:]), METHODS[1]
    kind = GREEDY | {"num_beams": 2}
    with prune(model, method):
        beams = model.generate(**inputs, **kind)
        assert torch.equal(beams.sequences, model.generate(**inputs, **kind, use_cache=False).sequences)
        out = model.generate(**inputs, **GREEDY)
        more = torch.randint(6, 62, (2, 3), generator=torch.Generator().manual_seed(1))
        turn = followed(model, inputs, out, more)
        second = model.generate(**turn, **GREEDY)
        ids = {name: turn[name] for name in ("input_ids", "attention_mask")}
        whole = model.generate(**ids, pixel_values=inputs["pixel_values"], **GREEDY)
    assert torch.equal(second.sequences, whole.sequences)
    close(torch.stack(second.logits), torch.stack(whole.logits))
    # nobody else has the bias that it wants
    with pytest.raises(ValueError, match="need their own mask or positions"):
        model(input_ids=more[:, :1], **with_cache(model, cache_from(out)))


def test_a_picture_behind_a_plain_turn(model, prompt, singles):
    """The first turn has no image, and a padded row: its slots count up to where the second begins."""
    whole = prompt([[4, 2, "I", 3], [2, 2, "I", 3]])
    first = {name: whole[name][:, :4] for name in ("input_ids", "attention_mask")}
    later = {"input_ids": whole["input_ids"][:, 4:], "pixel_values": whole["pixel_values"]}
    later["attention_mask"] = whole["attention_mask"]
    places = (whole["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with torch.no_grad(), prune(model, METHODS[0]):
        cache = cache_from(model(**first, position_ids=places[:, :4]))
        got = model(**later, position_ids=places[:, 4:], **with_cache(model, cache)).logits
    for row, alone in enumerate(singles(whole)):
        close(got[row], replayed(model, alone, METHODS[0], n_plain=4 - 2 * row)[4 - 2 * row :])
    more = {"input_ids": later["input_ids"], "pixel_values": later["pixel_values"]}
    with torch.no_grad(), prune(model, DivPrune(n_keep=5, positions="keep")):
        plain = cache_from(model(**whole))
        with pytest.raises(ValueError, match="this cache was pruned with calibrated positions"):
            model(**more, **with_cache(model, cache))
    with torch.no_grad(), prune(model, METHODS[0]), pytest.raises(ValueError, match="pruned with other positions"):
        model(**more, **with_cache(model, plain))


def test_nothing_is_added_where_nothing_is_lost(model, prompt):
    inputs = prompt(RAGGED)
    with torch.no_grad():
        plain = model(**inputs).logits
        with prune(model, Stride(n_keep=99, positions="calibrated")):
            assert torch.equal(model(**inputs).logits, plain)


def test_it_learns(model, prompt):
    inputs = prompt([[2, "I", 3]])
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == IMAGE, -100)
    with prune(model, METHODS[1]):
        model(**inputs, labels=labels).loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.model.language_model.layers.parameters())


def test_what_cannot_take_it_is_refused(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with pytest.raises(ValueError, match="wants a bias of the attention, which generate"):
        prepare(model, METHODS[0], **inputs)
    with pytest.raises(ValueError, match="wants a method before the decoder"):
        FastV(positions="calibrated")
    model.model.language_model.config._attn_implementation = "flash_attention_2"
    entered = prune(model, METHODS[0])
    with pytest.raises(ValueError, match='want attention "sdpa" or "eager", got "flash_attention_2"'), entered:
        pass
    model.model.language_model.config._attn_implementation = "sdpa"
    model.model.language_model.rotary_emb.rope_type = "dynamic"
    with pytest.raises(ValueError, match="wants rotary positions of fixed frequencies in LlamaModel"), entered:
        pass


def test_packed_rows_are_refused(model, prompt):
    inputs = prompt([["I", 2, "I", 3]])
    inputs.pop("attention_mask")
    places = torch.cat([torch.arange(18), torch.arange(19)])[None]
    with prune(model, METHODS[0]), pytest.raises(ValueError, match="one sample a row and causal attention, got packed"):
        model(**inputs, position_ids=places, use_cache=False)


@pytest.mark.parametrize(
    ("name", "says"),
    [("qwen2_5_vl", "wants one position a token, .* has three"), ("gemma3", "wants full attention in every layer")],
)
def test_families_that_cannot_take_it(name, says):
    feed = fed(name)
    with pytest.raises(ValueError, match=says), prune(feed.model, METHODS[0]):
        pass
