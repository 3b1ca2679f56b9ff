"""Cuts inside the decoder: the same numbers as a replay with our own attention, however batched, padded and decoded."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.caches import cache_from
from tests.tokenpruner.inside_decoder.layer_replay import Cut, replay
from tokenpruner import prune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop

CLOSE = {"rtol": 0, "atol": 2e-5}
GREEDY = {"do_sample": False, "max_new_tokens": 6, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5], [3, "I", "I", 1]]
# each method with the cuts that it stands for in a decoder of three layers
CASES = [
    (FastV(0.25, positions="keep"), [Cut(2, 0.25, 1)]),
    (FastV(0.3, layer=1, positions="keep"), [Cut(1, 0.3, 0)]),
    (PyramidDrop(n_stages=3, positions="keep"), [Cut(1, 0.5, 1), Cut(2, 0.25, 2)]),
]
CASES = [pytest.param(*case, id=str(case[0])) for case in CASES]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), **CLOSE)


def stepwise(out):
    """Logits of a generation, [rows, steps, vocabulary]."""
    return torch.stack(out.logits, 1)


@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_forward_is_the_replay(model, prompt, method, cuts):
    inputs = prompt([[3, "I", 2, "I", 4]])
    with torch.no_grad(), prune(model, method) as report:
        cached = model(**inputs)
        uncached = model(**inputs, use_cache=False).logits[0]
    wanted = replay(model, inputs, cuts)
    close(cached.logits[0], wanted.logits)
    close(uncached, wanted.logits)
    assert [list(image.kept) for image in report.prefills[0].images] == wanted.picks
    assert [layer.keys.shape[-2] for layer in cache_from(cached).layers] == wanted.tokens
    assert {layer.get_seq_length() for layer in cache_from(cached).layers} == {41}
    assert [rows[0] for rows in report.prefills[0].layers] == wanted.tokens
    assert {image.layer for image in report.prefills[0].images} == {cuts[-1].layer}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_padded_forward_equals_singles(model, prompt, singles, method, cuts, side):
    inputs = prompt(RAGGED, side)
    with torch.no_grad(), prune(model, method):
        together = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
        last = model(**inputs, logits_to_keep=1).logits
    for row, alone in enumerate(singles(inputs)):
        wanted = replay(model, alone, cuts).logits
        close(together[row, -len(wanted) :], wanted)
        close(uncached[row, -len(wanted) :], wanted)
        close(last[row], wanted[-1:])


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_padded_generation_equals_singles(model, prompt, singles, method, cuts, use_cache):
    inputs = prompt(RAGGED)
    with prune(model, method):
        out = model.generate(**inputs, **GREEDY, use_cache=use_cache)
        rows = [model.generate(**row, **GREEDY, use_cache=use_cache) for row in singles(inputs)]
    told = out.sequences[:, inputs["input_ids"].shape[1] :]
    for row, alone in enumerate(singles(inputs)):
        assert torch.equal(rows[row].sequences[0, alone["input_ids"].shape[1] :], told[row])
        # each step against the whole sequence computed anew
        wanted = replay(model, alone, cuts, told[row, :-1].tolist()).logits[-6:]
        close(stepwise(rows[row])[0], wanted)
        close(stepwise(out)[row], wanted)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_rows_that_need_padding_behind_a_cut_only(model, prompt, singles, method, cuts, use_cache):
    """All rows are of one length, so that no mask comes with the layers: behind a cut there has to be one."""
    inputs = prompt([[2, "I", 3], [21], [1, "I", 4]])
    inputs.pop("attention_mask")
    with prune(model, method):
        out = model.generate(**inputs, **GREEDY, use_cache=use_cache)
    for row, alone in enumerate(singles(inputs | {"attention_mask": torch.ones(3, 21, dtype=torch.int64)})):
        told = out.sequences[row, 21:-1].tolist()
        close(stepwise(out)[row], replay(model, alone, cuts, told).logits[-6:])
