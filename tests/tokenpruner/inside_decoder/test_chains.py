"""A chain in a model: the same numbers as a replay by hand, however batched and decoded, in every family."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.caches import cache_from, followed
from tests.tokenpruner.inside_decoder.chain_replay import GREEDY, RAGGED, First, chained, close
from tokenpruner import prepare, prune
from tokenpruner.methods.chain import Chain
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pool import Pool
from tokenpruner.methods.stride import Stride
from tokenpruner.methods.visionzip import VisionZip


def real(logits, report):
    """The logits of tokens, without those of padding: [tokens of all rows, vocabulary]."""
    counts = report.prefills[-1].tokens_after
    return torch.cat([own[-n:] for own, n in zip(logits, counts, strict=True)])


@pytest.mark.parametrize("way", ["keep", "compact"])
@pytest.mark.parametrize("method", [DivPrune(n_keep=9), Pool(n_keep=9)], ids=str)
def test_a_chain_is_its_methods_one_after_another(model, prompt, singles, method, way):
    inputs = prompt(RAGGED)
    chain = Chain((method, FastV(0.5, layer=1)), positions=way)
    with torch.no_grad(), prune(model, chain) as report:
        together = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
    for row, alone in enumerate(singles(inputs)):
        wanted, picks = chained(model, alone, method, 0.5, way)
        close(together[row, -len(wanted) :], wanted)
        close(uncached[row, -len(wanted) :], wanted)
        assert [[*image.kept] for image in report.prefills[0].images if image.row == row] == picks
    assert f"positions={way}" in report.method
    first, second = report.prefills[0].cuts
    assert {(one.layer, len(one.kept)) for one in first} == {(0, 9)}
    assert {(one.layer, len(one.kept)) for one in second} == {(1, 5)}


@pytest.mark.parametrize("way", ["keep", "compact"])
def test_decoding_and_turns_go_on_from_its_cache(model, prompt, singles, way):
    inputs = prompt(RAGGED)
    chain = Chain((VisionZip(n_keep=9), FastV(0.5, layer=1)), positions=way)
    with prune(model, chain):
        out = model.generate(**inputs, **GREEDY)
        plain = model.generate(**inputs, **GREEDY, use_cache=False)
        close(torch.stack(out.logits), torch.stack(plain.logits))
        # 33 + 3 tokens, two images of 16 of which 9 and 5 are left
        assert [layer.keys.shape[2] for layer in cache_from(out).layers] == [22, 14, 14]
        assert {layer.get_seq_length() for layer in cache_from(out).layers} == {36}
        more = torch.randint(6, 62, (4, 3), generator=torch.Generator().manual_seed(1))
        second = model.generate(**followed(model, inputs, out, more), **GREEDY)
        for row, alone in enumerate(singles(inputs)):
            own = model.generate(**alone, **GREEDY)
            close(torch.stack(own.logits)[:, 0], torch.stack(out.logits)[:, row])
            turn = model.generate(**followed(model, alone, own, more[row : row + 1]), **GREEDY)
            close(torch.stack(turn.logits)[:, 0], torch.stack(second.logits)[:, row])
    # what was chosen once stays: the first turn's picks do not hang on the second turn's text
    with prune(model, Chain((VisionZip(n_keep=9), First(keep_ratio=0.5)), positions=way)):
        first = model.generate(**inputs, **GREEDY)
        turn = model.generate(**followed(model, inputs, first, more), **GREEDY)
        ids = torch.cat([first.sequences, more], 1)
        mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 7), value=1)
        replayed = model.generate(input_ids=ids, attention_mask=mask, pixel_values=inputs["pixel_values"], **GREEDY)
    assert torch.equal(turn.sequences, replayed.sequences)
    close(torch.stack(turn.logits), torch.stack(replayed.logits))


def test_a_method_alone_and_in_a_chain(model, prompt):
    inputs = prompt(RAGGED)
    for method in (DivPrune(n_keep=5), Pool(n_keep=5), FastV(0.4, layer=1)):
        found = []
        for one in (method, [method]):
            with torch.no_grad(), prune(model, one) as report:
                logits = real(model(**inputs).logits, report)
                found.append((logits, report.images, report.flops_after, report.kv_bytes_after))
        close(found[0][0], found[1][0])
        assert found[0][1:] == found[1][1:]


def test_it_learns_and_leaves_the_model_as_found(watched, prompt):
    model, _, check = watched
    inputs = prompt([[2, "I", 3], [1, "I", 1, "I", 2]])
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] <= 5, -100)
    with prune(model, ["pool", "fastv:layer=1"], flops_ratio=0.5):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
    assert loss.isfinite()
    assert model.model.multi_modal_projector.linear_1.weight.grad.abs().sum() > 0
    model.zero_grad(set_to_none=True)
    check()


def test_what_a_chain_cannot_do(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with pytest.raises(ValueError, match=r"prepare\(\) hands over what enters the decoder"):
        prepare(model, Chain(), **inputs)
    with prune(model, ["divprune", "fastv"]), pytest.raises(ValueError, match="static cache"):
        model.generate(**inputs, cache_implementation="static")
    with pytest.raises(ValueError, match="want a layer from 1 to 2"), prune(model, ["divprune", "fastv:layer=3"]):
        pass
    with (
        prune(model, ["divprune", "fastv"], flops_ratio=0.01),
        pytest.raises(ValueError, match="flops_ratio of at least"),
    ):
        model(**inputs)
    with pytest.raises(ValueError, match="want a method such as"):
        prune(model, [3])


@pytest.mark.parametrize("name", families.params(["qwen3_vl", "qwen2_5_vl", "gemma3", "llava_next", "idefics3"]))
def test_families(name):
    """DeepStack, positions of three parts, masks made ahead, newlines: as the methods by themselves, row by row."""
    feed = fed(name)
    rows = [[2, "I", 3], [4], ["I", 2, "I", 1]]
    inputs = feed.encode(rows)
    with torch.no_grad():
        for method in (Stride(0.5), Pool(0.5)):
            found = []
            for one in (method, [method]):
                with prune(feed.model, one) as report:
                    logits = real(feed.model(**inputs).logits, report)
                    found.append((logits, [image.kept for image in report.images]))
            torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=2e-4)
            assert found[0][1] == found[1][1]
        with prune(feed.model, ["pool", "fastv:layer=1"], flops_ratio=0.6) as report:
            together = feed.model(**inputs)
            assert report.flops_after <= 0.6 * report.flops_before or report.flops_before is None
            step = feed.model.generate(**inputs, **(GREEDY | {"max_new_tokens": 3}))
            plain = feed.model.generate(**inputs, **(GREEDY | {"max_new_tokens": 3}), use_cache=False)
    torch.testing.assert_close(torch.stack(step.logits), torch.stack(plain.logits), rtol=0, atol=2e-4)
    assert together.logits.shape[1] < inputs["input_ids"].shape[1]
    three = name in ("qwen3_vl", "qwen2_5_vl")
    assert ("positions=keep" if three else "positions=compact") in report.method
