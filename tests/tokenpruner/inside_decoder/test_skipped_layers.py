"""Rows of one batch that drop tokens and skip layers by schedules of their own, against a loop."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.tokenpruner.caches import cache_from, followed, with_cache
from tests.tokenpruner.inside_decoder.conftest import MIXED, PICKS, RAGGED, close, flows_of, rigged_for
from tests.tokenpruner.methods.flow_replay import IMAGE, replay
from tokenpruner import prune
from tokenpruner.base.layer_flow import Flow
from tokenpruner.methods._flow_router import FlowRouter
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.flows import Flows

GREEDY = {"do_sample": False, "max_new_tokens": 5, "return_dict_in_generate": True, "output_logits": True}


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
