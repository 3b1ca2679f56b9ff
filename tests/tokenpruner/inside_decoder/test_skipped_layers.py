"""Rows of one batch that drop tokens and skip layers by schedules of their own, against a loop; caches and costs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.tokenpruner.caches import cache_from, followed, likely, with_cache
from tests.tokenpruner.checkpointing import checkpoint
from tests.tokenpruner.methods.flow_replay import IMAGE, replay, rigged
from tokenpruner import prune
from tokenpruner.base.layer_flow import Flow, row_features
from tokenpruner.methods._flow_router import FlowRouter
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.flows import Flows

GREEDY = {"do_sample": False, "max_new_tokens": 5, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3, "I", 2], ["I", 4], [5], ["I", 2]]
MIXED = ("full", "1:0.25", "1:0.5+2:skip", "2:skip")
# the images of the ragged rows go to these, the row without one computes everything
PICKS = (1, 2, None, 0)


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


def flows_of(picks, schedules=MIXED):
    return [Flow() if pick is None else Flow.parse(schedules[pick]) for pick in picks]


# --- a batch is its rows ---


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("schedule", ["1:0.25", "1:skip", "2:skip", "1:0.5+2:skip", "1:0.5+2:0.25", "1:skip+2:skip"])
def test_a_fixed_schedule_is_the_loop(model, prompt, singles, schedule, side):
    inputs, flow = prompt(RAGGED, side), Flow.parse(schedule)
    with torch.no_grad(), prune(model, Flows((schedule,))) as report:
        cached = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
    for row, alone in enumerate(singles(inputs)):
        run = replay(model, alone, flow if row != 2 else Flow())
        # without a cut padding stays where it is
        real = torch.zeros(cached.shape[1]).bool()
        real[-len(run.logits) :] = True
        real = real if flow.cuts else inputs["attention_mask"][row].bool()
        for got in (cached, uncached):
            close(got[row][real], run.logits)
        assert [layer[row] for layer in report.prefills[0].layers] == run.tokens


def test_one_cut_is_fastv(model, prompt):
    inputs = prompt(RAGGED)
    with prune(model, FastV(0.25, layer=2, positions="keep")):
        wanted = model.generate(**inputs, **GREEDY)
    with prune(model, Flows(("2:0.25",))):
        got = model.generate(**inputs, **GREEDY)
    assert torch.equal(got.sequences, wanted.sequences)
    assert torch.equal(torch.stack(got.logits), torch.stack(wanted.logits))


@pytest.fixture
def routed(model, prompt, tmp_path):
    """A method whose router gives the images of ragged rows the schedules PICKS, its file, and the rows."""
    inputs = prompt(RAGGED)
    router = rigged_for(model, inputs)
    router.save(tmp_path)
    return Flows(weights=str(tmp_path)), inputs


def rigged_for(model, inputs):
    """The router that knows the ragged rows by what it reads of them."""
    from tests.tokenpruner.conftest import split

    seen = []
    for row in split(inputs):
        if "pixel_values" in row:
            hidden = model(**row, output_hidden_states=True).hidden_states[1]
            visual = row["input_ids"] == IMAGE
            seen.append(row_features(hidden, visual, ~visual)[0])
    picks = [pick for pick in PICKS if pick is not None]
    return rigged(MIXED, len(seen[0]), dict(zip(picks, seen, strict=True)))


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_mixed_batch_is_its_rows(model, singles, routed, use_cache):
    method, inputs = routed
    with torch.no_grad(), prune(model, method) as report:
        out = model.generate(**inputs, **GREEDY, use_cache=use_cache)
    told = out.sequences[:, inputs["input_ids"].shape[1] :]
    tokens = report.prefills[0].layers
    assert report.prefills[0].schedules == tuple("" if pick is None else MIXED[pick] for pick in PICKS)
    for row, (alone, flow) in enumerate(zip(singles(inputs), flows_of(PICKS), strict=True)):
        run = replay(model, alone, flow, told[row, :-1].tolist())
        close(torch.stack(out.logits, 1)[row], run.logits[-5:])
        assert [layer[row] for layer in tokens] == replay(model, alone, flow).tokens
        with prune(model, method):
            assert torch.equal(model.generate(**alone, **GREEDY).sequences[0, -5:], told[row])


@pytest.mark.parametrize("pick", range(len(MIXED)))
def test_a_router_that_always_says_the_same_is_that_schedule(model, prompt, tmp_path, pick):
    inputs = prompt(RAGGED)
    router = FlowRouter(MIXED, 96)
    with torch.no_grad():
        router.layers[2].bias[pick] = 1
    router.save(tmp_path)
    with prune(model, Flows(weights=str(tmp_path))) as report:
        got = model.generate(**inputs, **GREEDY)
    with prune(model, Flows((MIXED[pick],))) as fixed:
        wanted = model.generate(**inputs, **GREEDY)
    assert torch.equal(got.sequences, wanted.sequences)
    assert torch.equal(torch.stack(got.logits), torch.stack(wanted.logits))
    # three rows have pictures
    assert report.flops_after == fixed.flops_after + 3 * router.flops
    assert report.layers == fixed.layers


@pytest.mark.parametrize("kind", [{"num_beams": 3, "num_return_sequences": 2}, {"num_beams": 2}], ids=str)
def test_beams(model, prompt, expandable, tmp_path, kind):
    inputs = prompt(expandable(RAGGED))
    rigged_for(model, inputs).save(tmp_path)
    wanted = {"do_sample": False, "max_new_tokens": 6, **kind}
    with prune(model, Flows(weights=str(tmp_path))):
        out = model.generate(**inputs, **wanted)
        assert torch.equal(model.generate(**inputs, **wanted, use_cache=False), out)


def test_a_later_turn_skips_what_the_first_one_skipped(model, singles, routed):
    method, inputs = routed
    more, length = torch.arange(10, 22).view(4, 3), inputs["input_ids"].shape[1]
    with prune(model, method):
        first = model.generate(**inputs, **GREEDY)
        second = model.generate(**followed(model, inputs, first, more), **GREEDY)
    for row, (alone, flow) in enumerate(zip(singles(inputs), flows_of(PICKS), strict=True)):
        said = second.sequences[row, length:-1].tolist()
        close(torch.stack(second.logits, 1)[row], replay(model, alone, flow, said).logits[-5:])


@pytest.mark.parametrize("schedule", ["2:skip", "1:0.5+2:skip", "1:skip"])
def test_a_second_picture_has_the_schedule_of_the_first(model, prompt, schedule):
    whole, flow = prompt([[2, "I", 3, "I", 4]]), Flow.parse(schedule)
    first = {"input_ids": whole["input_ids"][:, :21], "pixel_values": whole["pixel_values"][:1]}
    with torch.no_grad(), prune(model, Flows((schedule,))):
        cache = cache_from(model(**first))
        got = model(
            input_ids=whole["input_ids"][:, 21:], pixel_values=whole["pixel_values"][1:], **with_cache(model, cache)
        ).logits
    assert cache.get_seq_length() == 41
    picked = replay(model, first, flow).picks
    run = replay(model, whole, flow, picked=[picked[0], None])
    close(got[0], run.logits[-got.shape[1] :])


@dataclasses.dataclass(frozen=True)
class OneAfterAnother(Flows):
    """Chooses the first schedule, then the second."""

    chosen: list[int] = dataclasses.field(default_factory=list, compare=False)

    def flows(self):
        return tuple(map(Flow.parse, self.schedules))

    def route(self, features):
        self.chosen.append(len(self.chosen))
        return torch.full((len(features),), self.chosen[-1])


def test_a_row_that_skips_is_not_asked_again(model, prompt):
    whole, method = prompt([[2, "I", 3, "I", 4]]), OneAfterAnother(("2:skip", "full"))
    first = {"input_ids": whole["input_ids"][:, :21], "pixel_values": whole["pixel_values"][:1]}
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**first))
        got = model(
            input_ids=whole["input_ids"][:, 21:], pixel_values=whole["pixel_values"][1:], **with_cache(model, cache)
        ).logits
    assert method.chosen == [0]
    close(got[0], replay(model, whole, Flow.parse("2:skip")).logits[-20:])


def test_a_row_without_a_picture_gets_its_schedule_with_the_first_one(model, prompt, singles):
    """Its text ran through all layers; from the picture on it skips one."""
    whole = prompt([[4, "I", 2]])
    with torch.no_grad(), prune(model, Flows(("2:skip",))):
        cache = cache_from(model(input_ids=whole["input_ids"][:, :4]))
        got = model(input_ids=whole["input_ids"][:, 4:], pixel_values=whole["pixel_values"], **with_cache(model, cache))
        close(got.logits[0], replay(model, whole, Flow.parse("2:skip")).logits[-18:])
        # the text that came before went through layer 2, but nobody looks there any more
        told = model(input_ids=torch.tensor([[9]]), **with_cache(model, cache_from(got))).logits
    close(told[0, -1], replay(model, whole, Flow.parse("2:skip"), [9]).logits[-1])


# --- caches, costs ---


def test_a_layer_that_all_rows_skip_holds_nothing(model, prompt):
    with torch.no_grad(), prune(model, Flows(("1:0.5+2:skip",))) as report:
        out = model(**prompt([[2, "I", 3], ["I", 2]]))
        cache = cache_from(out)
        model(input_ids=torch.tensor([[9], [9]]), **with_cache(model, cache))
    assert [layer.get_seq_length() for layer in cache.layers] == [22, 22, 0]
    assert cache.get_seq_length() == 22
    # 21 and 18 tokens padded to 21, 13 and 10 to 13; keys and values of 2 heads of 8 in float64
    one = 2 * 2 * 2 * 8 * 8
    assert (report.kv_bytes_before, report.kv_bytes_after) == (3 * 21 * one, (21 + 13) * one)
    assert [after for _, after in report.layers] == [39, 23, 0]


def test_flops_are_those_of_the_rows_that_compute(model, routed):
    method, inputs = routed
    with torch.no_grad(), prune(model, method) as report:
        model(**inputs)
    # hidden 32, attention 4 x 8 wide, keys 2 x 8, MLP 48
    per_token, router = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48), method.router(torch.device("cpu"))

    def cost(n):
        return n * per_token + 4 * n * n * 32

    # 39, 20, 5 and 18 tokens; of two images of the first row 4 each are left, of the second's 8
    assert [len(row) for row in report.prefills[0].layers] == [4, 4, 4]
    assert report.prefills[0].layers == ((39, 20, 5, 18), (15, 12, 5, 18), (15, 0, 5, 18))
    assert report.flops_before == 3 * 4 * cost(39)
    assert report.flops_after == 4 * cost(39) + 4 * cost(18) + 3 * cost(18) + 3 * router.flops


def test_bytes_of_rows_that_skip_are_counted_where_they_are_held(model, routed):
    method, inputs = routed
    with torch.no_grad(), prune(model, method) as report:
        cache = cache_from(model(**inputs))
    assert [layer.keys.shape[-2] for layer in cache.layers] == [39, 18, 18]
    assert not cache.layers[2].keys[1].any()
    assert cache.layers[2].keys[0].any()
    assert report.kv_bytes_after == sum(2 * layer.keys.numel() * 8 for layer in cache.layers)


def test_rows_taken_from_a_cache_keep_their_schedules(model, singles, routed):
    method, inputs = routed
    with torch.no_grad(), prune(model, method):
        out = model(**inputs)
        cache, told = cache_from(out), out.logits[:, -1].argmax(-1)
        cache.batch_select_indices(torch.tensor([1]))
        mask = torch.nn.functional.pad(inputs["attention_mask"][1:2], (0, 1), value=1)
        got = model(input_ids=told[1:2, None], attention_mask=mask, **with_cache(model, cache)).logits
    alone = singles(inputs)[1]
    close(got[0, -1], replay(model, alone, flows_of(PICKS)[1], told[1:2].tolist()).logits[-1])
    # the slots of the layer that it skips grow as the others do
    assert [layer.keys.shape[-2] for layer in cache.layers] == [40, 19, 19]


@pytest.mark.parametrize("schedule", ["2:skip", "1:0.5+2:skip"])
def test_assisted_decoding_crops_the_cache(model, prompt, schedule):
    inputs, greedy = prompt([[2, "I", 3]]), {"do_sample": False, "max_new_tokens": 8}
    with prune(model, Flows((schedule,))):
        wanted = model.generate(**inputs, **greedy)
        got = model.generate(**inputs, **greedy, prompt_lookup_num_tokens=3)
    assert torch.equal(got, wanted)


def test_a_cache_whose_rows_skip_layers_is_refused_by_others(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with torch.no_grad(), prune(model, Flows(("2:skip",))):
        out = model(**inputs)
    following = {"input_ids": torch.tensor([[likely(out)]]), **with_cache(model, cache_from(out))}
    with pytest.raises(ValueError, match="lack different tokens"):
        model(**following)
    for other in (FastV(), Flows(("1:skip",)), Flows(("1:0.5",))):
        with prune(model, other), pytest.raises(ValueError, match="rows of this cache skip layers"):
            model(**following)
    with torch.no_grad(), prune(model, Flows(("2:skip",))):
        model(**following)


def test_gradients_flow_past_a_skipped_layer(model, prompt):
    inputs = prompt([[2, "I", 3], ["I", 2]])
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == IMAGE, -100)
    with prune(model, Flows(("1:0.5+2:skip",))):
        model(**inputs, labels=labels, use_cache=False).loss.backward()
    layers = model.model.language_model.layers
    assert layers[1].mlp.up_proj.weight.grad is not None
    assert layers[2].mlp.up_proj.weight.grad is None


def test_the_model_is_left_as_found(watched, tmp_path):
    model, inputs, check = watched
    with prune(model, Flows(("1:0.5+2:skip",))):
        model.generate(**inputs, do_sample=False, max_new_tokens=2)
    check()
    with pytest.raises(RuntimeError), prune(model, Flows(("2:skip",))):
        raise RuntimeError
    check()


# --- refused ---


def test_layers_that_cannot_be_skipped_are_named(model, prompt):
    class Other(type(model.model.language_model.layers[2])):
        """A layer of another kind."""

    layers = model.model.language_model.layers
    layers[2].__class__ = Other
    with pytest.raises(ValueError, match="layer 2, Other, cannot be skipped: it is of another kind than the first"):
        prune(model, Flows(("2:skip",))).__enter__()
    layers[2].__class__ = type(layers[1])
    layers[2].self_attn.indexer = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="layer 2, LlamaDecoderLayer, cannot be skipped: it keeps an index"):
        prune(model, Flows(("2:skip",))).__enter__()
    attention, layers[2].self_attn = layers[2].self_attn, torch.nn.Identity()
    with pytest.raises(ValueError, match="layer 2, LlamaDecoderLayer, cannot be skipped: it has no attention"):
        prune(model, Flows(("2:skip",))).__enter__()
    layers[2].self_attn = attention
    del layers[2].self_attn.indexer
    layers[2].A_log = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="layer 2, LlamaDecoderLayer, cannot be skipped: it keeps a state"):
        prune(model, Flows(("2:skip",))).__enter__()
    del layers[2].A_log
    layers[2].self_attn.is_kv_shared_layer = True
    with pytest.raises(ValueError, match="layer 2, LlamaDecoderLayer, reads the keys of an earlier layer"):
        prune(model, Flows(("1:skip",))).__enter__()
    del layers[2].self_attn.is_kv_shared_layer
    checkpoint(model, use_reentrant=False)
    model.train()
    with prune(model, Flows(("2:skip",))), pytest.raises(ValueError, match="layer 2, .*computed again|hooks again"):
        model(**prompt([[2, "I", 3]]), use_cache=False)


@pytest.mark.parametrize("mode", ["skip", "route"])
def test_other_modes_are_refused(model, mode):
    with pytest.raises(ValueError, match='want mode="drop" where layers are skipped'):
        prune(model, Flows(mode=mode)).__enter__()


def test_refusals(model, prompt, routed):
    method, _ = routed
    with pytest.raises(ValueError, match="by itself, which skips layers, got a chain of 2"):
        prune(model, ["stride", "flows"])
    row = prompt([["I", 3, "I", 2]])
    places = torch.tensor([[*range(19), *range(18)]])
    packed = {"input_ids": row["input_ids"], "pixel_values": row["pixel_values"], "position_ids": places}
    with prune(model, method), pytest.raises(ValueError, match="want one sample a row"):
        model(**packed, use_cache=False)
    wrong = dataclasses.replace(method, weights="nowhere")
    with pytest.raises(ValueError, match="want weights that FlowRouter.save wrote, got 'nowhere'"):
        prune(model, wrong).__enter__()


def test_a_router_for_other_hidden_states_is_refused(model, prompt, tmp_path):
    FlowRouter(MIXED, 12).save(tmp_path)
    with prune(model, Flows(weights=str(tmp_path))), pytest.raises(ValueError, match="want a router for 96 numbers"):
        model(**prompt([[2, "I", 3]]))
