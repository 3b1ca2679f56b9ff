"""Caches whose rows skip layers: what they hold and cost, cropped, selected from, and refused by others."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.caches import cache_from, likely, with_cache
from tests.tokenpruner.inside_decoder.conftest import PICKS, close, flows_of
from tests.tokenpruner.methods.flow_replay import replay
from tokenpruner import prune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.flows import Flows


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
