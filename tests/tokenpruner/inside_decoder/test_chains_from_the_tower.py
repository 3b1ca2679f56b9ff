"""Chains that begin before or inside the vision tower: a batch is its rows, and later methods get what it leaves."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.adapters.family_checks import singles as singles_of
from tests.tokenpruner.inside_decoder.chain_replay import GREEDY, RAGGED
from tokenpruner import prune
from tokenpruner.methods.chain import Chain
from tokenpruner.report.prefill_record import PrefillCosts


def agrees_with_its_rows(model, inputs, rows, chain):
    """Logits and picks of a batch under `chain` are those of each row alone, with a cache and without; the report."""
    with torch.no_grad(), prune(model, chain) as report:
        together = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
    for row, alone in enumerate(rows):
        with torch.no_grad(), prune(model, chain) as own:
            wanted = model(**alone).logits[0]
        for got in (together, uncached):
            torch.testing.assert_close(got[row, -len(wanted) :].double(), wanted.double(), rtol=0, atol=2e-4)
        assert [one.kept for one in own.images] == [one.kept for one in report.prefills[0].images if one.row == row]
        if own.images:
            first, last = own.prefills[0].chain[0], own.prefills[0].chain[-1]
            assert last.flops_after <= first.flops_after
    return report


def test_tokens_leave_in_the_tower_first(model, prompt, singles):
    inputs = prompt(RAGGED)
    chain = Chain(("tome:r=4", "divprune", "fastv:layer=1"), 0.4)
    report = agrees_with_its_rows(model, inputs, singles(inputs), chain)
    tower, before, inside = report.prefills[0].chain
    assert (tower.method, tower.visual_before, tower.visual_after, tower.keep_ratios) == ("tome:r=4", 64, 48, ())
    assert before.visual_before == 48
    # 13 tokens of text
    assert before.visual_after == inside.visual_before == sum(report.prefills[0].layers[0]) - 13
    assert inside.visual_after == sum(report.prefills[0].layers[2]) - 13
    # the budget is the decoder's, of what all tokens of the picture would cost
    whole = sum(cost.flops(33) for cost in PrefillCosts.of(model.model.language_model).layers)
    assert inside.flops_after / (4 * whole) <= 0.4
    # what the tower leaves of an image, the next method picks among
    with torch.no_grad(), prune(model, "tome:r=4") as first:
        model(**inputs)
    for own, cut in zip(first.images, report.prefills[0].images, strict=True):
        assert {*cut.kept} < {*own.kept}


@pytest.mark.parametrize(
    "methods", [("downsample:keep_ratio=0.5", "divprune", "fastv:layer=1"), ("pixel_duplicates", "fastv:layer=1")]
)
def test_a_tower_that_is_given_less(methods):
    feed = fed("qwen2_5_vl")
    rows = [[2, "I", 3], [4], ["I", 2, "I", 1]]
    inputs = feed.encode(rows)
    report = agrees_with_its_rows(feed.model, inputs, singles_of(feed, rows, inputs), Chain(methods, 0.7))
    assert report.prefills[0].chain[0].visual_before >= report.prefills[0].chain[0].visual_after
    assert "positions=keep" in report.method
    with prune(feed.model, Chain(methods, 0.7)):
        step = feed.model.generate(**inputs, **GREEDY)
        plain = feed.model.generate(**inputs, **GREEDY, use_cache=False)
    torch.testing.assert_close(torch.stack(step.logits), torch.stack(plain.logits), rtol=0, atol=2e-4)
