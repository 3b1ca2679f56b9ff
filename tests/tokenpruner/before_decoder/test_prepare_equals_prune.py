"""prepare(): the same tokens and logits as prune(), without any state, also where hooks cannot work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tokenpruner import Report, prepare, prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random

RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5], [3, "I", "I", 1]]
GREEDY = {"do_sample": False, "max_new_tokens": 6, "return_dict_in_generate": True, "output_logits": True}
POLICIES = ["keep", "compact"]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


def told(out, prompt_length=0):
    return out.sequences[:, prompt_length:]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", [{}, {"num_beams": 3, "num_return_sequences": 2}], ids=["greedy", "beams"])
def test_equals_prune(model, prompt, expandable, policy, kind):
    inputs, method = prompt(expandable(RAGGED)), DivPrune(keep_ratio=0.25, positions=policy)
    out = model.generate(**prepare(model, method, **inputs), **GREEDY, **kind)
    with prune(model, method):
        wanted = model.generate(**inputs, **GREEDY, **kind)
    assert torch.equal(told(out), told(wanted, inputs["input_ids"].shape[1]))
    close(torch.stack(out.logits), torch.stack(wanted.logits))


def test_forward_equals_prune(model, prompt):
    inputs, method = prompt([[2, "I", 3]]), DivPrune(keep_ratio=0.25)
    with torch.no_grad():
        got = model(**prepare(model, method, **inputs)).logits
        with prune(model, method):
            close(got, model(**inputs).logits)


@pytest.mark.parametrize("policy", POLICIES)
def test_static_cache(model, prompt, policy):
    prepared = prepare(model, DivPrune(keep_ratio=0.25, positions=policy), **prompt(RAGGED))
    dynamic = model.generate(**prepared, **GREEDY)
    static = model.generate(**prepared, **GREEDY, cache_implementation="static", disable_compile=True)
    assert torch.equal(told(dynamic), told(static))
    close(torch.stack(static.logits), torch.stack(dynamic.logits))


def test_keeping_everything_is_bit_equal(model, prompt):
    inputs = prompt(RAGGED)
    plain = model.generate(**inputs, **GREEDY)
    out = model.generate(**prepare(model, DivPrune(keep_ratio=1.0), **inputs), **GREEDY)
    assert torch.equal(told(out), told(plain, inputs["input_ids"].shape[1]))
    assert torch.equal(torch.stack(out.logits), torch.stack(plain.logits))


def test_shapes_and_positions_by_hand(model, prompt):
    prepared = prepare(model, DivPrune(keep_ratio=0.25, positions="keep"), **prompt([[2, "I", 1], [3]]))
    assert set(prepared) == {"inputs_embeds", "attention_mask", "position_ids"}
    assert prepared["inputs_embeds"].shape == (2, 7, 32)
    assert prepared["attention_mask"].tolist() == [[1] * 7, [0] * 4 + [1] * 3]
    assert prepared["position_ids"][0, [0, 1, -1]].tolist() == [0, 1, 18]
    assert prepared["position_ids"][1].tolist() == [0, 0, 0, 0, 0, 1, 2]


def test_right_padding_becomes_left_padding(model, prompt):
    method = DivPrune(keep_ratio=0.25)
    left, right = (prepare(model, method, **prompt(RAGGED, side)) for side in ("left", "right"))
    assert torch.equal(left["attention_mask"], right["attention_mask"])
    assert torch.equal(left["position_ids"], right["position_ids"])
    close(left["inputs_embeds"], right["inputs_embeds"])


def test_text_comes_back_as_it_is(model, prompt):
    inputs = prompt([[3], [5]])
    prepared = prepare(model, DivPrune(keep_ratio=0.1), **inputs)
    assert set(prepared) == set(inputs)
    assert all(prepared[name] is inputs[name] for name in inputs)


def test_inputs_are_not_modified_and_no_graph_is_held(model, prompt):
    inputs = prompt(RAGGED)
    before = {name: value.clone() for name, value in inputs.items()}
    prepared = prepare(model, DivPrune(keep_ratio=0.25), **inputs)
    assert all(torch.equal(inputs[name], before[name]) for name in before)
    assert not prepared["inputs_embeds"].requires_grad


def test_a_prompt_that_ends_with_an_image(model, prompt):
    """With gaps kept, generate() could not know where to go on."""
    inputs = prompt([[2, "I", 1], [3, "I"]])
    with pytest.raises(ValueError, match='row 1 ends with an image token that is dropped: .* positions="compact"'):
        prepare(model, Random(keep_ratio=0.06, positions="keep"), **inputs)
    method = Random(keep_ratio=0.06, positions="compact")
    out = model.generate(**prepare(model, method, **inputs), **GREEDY)
    with prune(model, method):
        wanted = model.generate(**inputs, **GREEDY)
    close(torch.stack(out.logits), torch.stack(wanted.logits))


def test_the_report_is_filled_when_given(model, prompt):
    report = Report()
    prepare(model, DivPrune(keep_ratio=0.25), report, **prompt(RAGGED))
    assert report.method == "divprune:keep_ratio=0.25,positions=compact"
    assert (report.visual_before, report.visual_after) == (80, 20)
    assert report.prefills[0].prefill_ms is None


def test_threads_share_a_model(model, prompt):
    """One thread generates as usual while others prepare: none sees another's hooks."""
    inputs, method = prompt(RAGGED), DivPrune(keep_ratio=0.25)
    plain = model.generate(**inputs, **GREEDY).sequences
    wanted = prepare(model, method, **inputs)

    def generate():
        for _ in range(6):
            assert torch.equal(model.generate(**inputs, **GREEDY).sequences, plain)

    def encode():
        for _ in range(12):
            got = prepare(model, method, **inputs)
            assert all(torch.equal(got[name], wanted[name]) for name in wanted)

    with ThreadPoolExecutor() as pool:
        for future in [pool.submit(work) for work in (generate, encode, encode)]:
            future.result()
