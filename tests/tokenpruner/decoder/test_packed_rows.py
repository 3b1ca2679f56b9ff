"""Samples packed in one row, told by positions that start again: each comes out as it does alone."""

from __future__ import annotations

import pytest
import torch

from tokenpruner import prepare, prune
from tokenpruner.decoder.packed_rows import block_mask, counts_within, samples_of
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop
from tokenpruner.methods.stride import Stride

METHODS = [
    method
    for positions in ("keep", "compact")
    for method in (
        DivPrune(0.25, positions=positions),
        Stride(n_keep_row=6, positions=positions),
        FastV(0.25, layer=1, positions=positions),
        PyramidDrop(n_stages=3, positions=positions),
    )
]


def packed(samples):
    """The samples, of one row each, in one row; their masks left out."""
    positions = [torch.arange(one["input_ids"].shape[1]) for one in samples]
    return {
        "input_ids": torch.cat([one["input_ids"] for one in samples], 1),
        "position_ids": torch.cat(positions)[None],
        "pixel_values": torch.cat([one["pixel_values"] for one in samples if "pixel_values" in one]),
    }


def test_samples_by_hand():
    where = torch.tensor([[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]])
    samples = samples_of(where, None, False)
    assert samples.tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    # nothing is packed beside a mask, behind a past, or where positions run on
    assert samples_of(where, torch.ones(2, 5), False) is None
    assert samples_of(where, None, True) is None
    assert samples_of(where[1:], None, False) is None
    # a position of three parts stands still within an image; the text's own, where there is one, does not
    parts = torch.tensor([[[0, 1, 1, 1, 2, 0, 1]]]).expand(3, 1, 7)
    assert samples_of(parts, None, False).tolist() == [[0, 0, 0, 0, 0, 1, 1]]
    text = torch.tensor([[[0, 1, 2, 3, 4, 0, 1]]])
    assert samples_of(torch.cat([text, parts]), None, False).tolist() == [[0, 0, 0, 0, 0, 1, 1]]


def test_counts_and_masks_by_hand():
    samples = torch.tensor([[0, 0, 0, 1, 1]])
    gone = torch.tensor([[True, False, True, False, True]])
    assert counts_within(gone, samples).tolist() == [[1, 1, 2, 0, 1]]
    assert counts_within(gone, None).tolist() == [[1, 1, 2, 2, 3]]
    real = torch.tensor([[True, True, False, True, True]])
    seen = block_mask(samples, real, torch.zeros(())) == 0
    assert seen[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        # padding sees itself, so that it sees something
        [1, 1, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{type(method).__name__}-{method.positions}")
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_each_sample_comes_out_as_alone(make_model, prompt, method, attention):
    model = make_model(attention=attention)
    rows = ([[2, "I", 3]], [[3, "I", 1, "I", 5]], [[4]])
    samples = [prompt(row, seed=number) for number, row in enumerate(rows)]
    kind = {"use_cache": False}
    with torch.no_grad(), prune(model, method) as report:
        alone = [model(**one, **kind).logits for one in samples]
        picks = [image.kept for image in report.images]
        got = model(**packed(samples), **kind).logits
    # transformers' own eager attention has its softmax in float32
    close = 1e-10 if attention == "sdpa" else 2e-5
    torch.testing.assert_close(got, torch.cat(alone, 1), rtol=0, atol=close)
    assert [image.kept for image in report.images[len(picks) :]] == picks
    assert report.visual_after < report.visual_before


def test_the_loss_of_packed_rows(model, prompt):
    """What one sample shall learn to say has no say in the choice, though images of the next one follow."""
    samples = [prompt([[2, "I", 6]], seed=1), prompt([[3, "I", 5]], seed=2)]
    labels = [one["input_ids"].clone() for one in samples]
    for own in labels:
        own[:, :-3] = -100
    for method in (FastV(0.25, layer=1), DivPrune(0.25)):
        with prune(model, method) as report:
            alone = [model(**one, labels=own, use_cache=False).loss for one, own in zip(samples, labels, strict=True)]
            picks = [image.kept for image in report.images]
            loss = model(**packed(samples), labels=torch.cat(labels, 1), use_cache=False).loss
        assert [image.kept for image in report.images[2:]] == picks
        torch.testing.assert_close(loss, sum(alone) / 2)


def test_a_cache_of_packed_rows_is_no_matter(model, prompt):
    """With a cache transformers itself lets the samples see each other; what is pruned keeps them apart."""
    samples = [prompt([[2, "I", 3]], seed=1), prompt([[3, "I", 5]], seed=2)]
    for method in (DivPrune(0.25), FastV(0.25, layer=1)):
        with torch.no_grad(), prune(model, method):
            wanted = torch.cat([model(**one).logits for one in samples], 1)
            torch.testing.assert_close(model(**packed(samples)).logits, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", [DivPrune(0.25), FastV(0.25, layer=1)])
def test_other_ways_to_tell_samples_apart_are_refused(model, prompt, method):
    samples = [prompt([[2, "I", 3]], seed=1), prompt([[3, "I", 5]], seed=2)]
    inputs = packed(samples)
    length = inputs["input_ids"].shape[1]
    ends = torch.tensor([0, samples[0]["input_ids"].shape[1], length], dtype=torch.int32)
    numbers = torch.cat([torch.full_like(one["input_ids"], number + 1) for number, one in enumerate(samples)], 1)
    for more, wanted in (
        ({"attention_mask": numbers}, "row 0: want attention_mask of 0 and 1, got another number: tell samples"),
        ({"attention_mask": torch.ones(1, length)}, "row 0: positions start again beside an attention_mask: tell"),
        ({"cu_seq_lens_q": ends, "cu_seq_lens_k": ends}, "takes cu_seq_lens_q: tell samples .* by position_ids"),
        ({"seq_idx": numbers.int()}, "takes seq_idx: tell samples"),
    ):
        with prune(model, method), pytest.raises(ValueError, match=wanted):
            model(**inputs | more, use_cache=False)


def test_what_cannot_keep_blocks_apart_is_refused(make_model, prompt):
    samples = [prompt([[2, "I", 3]], seed=1), prompt([[3, "I", 5]], seed=2)]
    for method in (DivPrune(0.25), FastV(0.25, layer=1)):
        model = make_model()
        config = model.model.language_model.config
        config.sliding_window = 20
        refused = pytest.raises(ValueError, match="packed row of 45 tokens is longer than the sliding window of 20")
        with prune(model, method), refused:
            model(**packed(samples), use_cache=False)
        config.sliding_window, config.layer_types = None, ["full_attention", "linear_attention", "full_attention"]
        with prune(model, DivPrune(0.25)), pytest.raises(ValueError, match="layers of attention, got linear_attention"):
            model(**packed(samples), use_cache=False)


def test_prepare_wants_a_prompt_a_row(model, prompt):
    samples = [prompt([[2, "I", 3]], seed=1), prompt([[3, "I", 5]], seed=2)]
    # generate() of older releases makes a mask of its own, beside which positions cannot start again
    with pytest.raises(ValueError, match="one prompt a row for generate|positions start again beside"):
        prepare(model, DivPrune(0.25), **packed(samples))
