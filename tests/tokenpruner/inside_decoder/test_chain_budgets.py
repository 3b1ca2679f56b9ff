"""A chain within its budget of FLOPs: held row by row, counted as torch counts, its split in the report."""

from __future__ import annotations

import pytest
import torch

from prunekernels import budget
from tests.tokenpruner.inside_decoder.chain_replay import RAGGED, First, close
from tokenpruner import prune
from tokenpruner.methods.stride import Stride
from tokenpruner.report.text_table import summary


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_the_budget_is_held_row_by_row(model, prompt, singles, share):
    inputs = prompt(RAGGED)
    with torch.no_grad(), prune(model, ["divprune", "fastv:layer=1"], flops_ratio=share) as report:
        together = model(**inputs).logits
    for row, alone in enumerate(singles(inputs)):
        with torch.no_grad(), prune(model, ["divprune", "fastv:layer=1"], flops_ratio=share) as own:
            wanted = model(**alone).logits[0]
        close(together[row, -len(wanted) :], wanted)
        images = [image.kept for image in report.images if image.row == row]
        assert [image.kept for image in own.images] == images
        if images:
            # a token more of each image at either cut would be too many
            slack = 2 * len(images) / own.prefills[0].tokens_before[0]
            assert share - slack < own.flops_after / own.flops_before <= share


# 5.15 makes rotary tables by a matrix product, which torch counts to the layer before which positions are numbered anew
@pytest.mark.newest
def test_flops_are_those_that_torch_counts(make_model, prompt):
    """All multiplications of the layers, in eager attention, the causal half included; who picks makes none."""
    from torch.utils.flop_counter import FlopCounterMode

    model, inputs = make_model(attention="eager"), prompt([[2, "I", 3, "I", 1]])
    totals = []
    for entered in (None, prune(model, [Stride(), First()], flops_ratio=0.5)):
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            if entered is None:
                model(**inputs)
            else:
                with entered as report:
                    model(**inputs)
        counts = counter.get_flop_counts()
        names = [
            name for name in counts if name.endswith(tuple(f"language_model.layers.{layer}" for layer in range(3)))
        ]
        assert len(names) == 3
        totals.append(sum(sum(counts[name].values()) for name in names))
    assert totals == [report.flops_before, report.flops_after]
    assert 0.4 < totals[1] / totals[0] <= 0.5


def test_the_report_says_how_the_budget_was_split(model, prompt):
    with torch.no_grad(), prune(model, ["divprune", "fastv:layer=1"], flops_ratio=0.5) as report:
        model(**prompt([[2, "I", 3]]))
    first, second = report.prefills[0].chain
    assert (first.method, second.method) == ("divprune", "fastv:layer=1")
    (x,) = first.keep_ratios
    assert second.keep_ratios == (x,)
    n = budget.n_keep(16, x)
    assert (first.visual_before, first.visual_after) == (16, n)
    assert (second.visual_before, second.visual_after) == (n, budget.n_keep(n, x))
    assert report.flops_before > first.flops_after > second.flops_after == report.flops_after
    assert report.layers == [(21, 5 + n)] + [(21, 5 + budget.n_keep(n, x))] * 2
    assert f"  divprune: 16 -> {n} visual tokens, solved for {100 * x:.1f} %" in summary(report).splitlines()
    with torch.no_grad(), prune(model, ["divprune:n_keep=4", "fastv:layer=1,n_keep=2"]) as report:
        model(**prompt([[2, "I", 3]]))
    assert [share.keep_ratios for share in report.prefills[0].chain] == [(), ()]
    assert "  fastv:n_keep=2,layer=1: 4 -> 2 visual tokens" in summary(report).splitlines()
