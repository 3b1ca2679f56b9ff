"""Presets by paper and model, and where the tokens that are left stand by default."""

from __future__ import annotations

import pytest
import torch

from prunekernels import registry
from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import fed
from tokenpruner import TokenMethod, prune
from tokenpruner.base.positions import place
from tokenpruner.base.token_method import METHODS, method_from_text
from tokenpruner.methods.atp import ATP
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop
from tokenpruner.methods.tome import ToMe


@pytest.mark.parametrize("kind", registry.methods(METHODS, TokenMethod).found.values())
def test_every_preset_is_a_method(kind):
    for name in kind.presets:
        assert isinstance(kind.preset(name), kind)


def test_presets_by_their_text():
    assert method_from_text("divprune:preset=llava-1.5-64") == DivPrune(n_keep=64, positions="published")
    assert method_from_text("divprune:preset=llava-1.5-64,positions=keep") == DivPrune(n_keep=64, positions="keep")
    assert method_from_text("fastv:layer=3,preset=llava-1.5-128") == FastV(
        n_average=128, layer=3, positions="published"
    )
    with pytest.raises(ValueError, match="DivPrune has no preset 'llava-64'; it has llava-1.5-192"):
        method_from_text("divprune:preset=llava-64")
    with pytest.raises(ValueError, match="ToMe has no preset 'x'; it has none"):
        ToMe.preset("x")
    with pytest.raises(ValueError, match="want one of keep_ratio"):
        method_from_text("divprune:preset=llava-1.5-64", keep_ratio=0.25)


def test_the_one_decision():
    assert place("auto", "keep", "M", has_mrope=False) == "compact"
    assert place("auto", "compact", "M", has_mrope=True) == "keep"
    assert place("auto", "compact", "M", has_mrope=False, can_number_anew=False) == "keep"
    assert place("published", "keep", "M", has_mrope=False) == "keep"
    assert place("keep", "compact", "M", has_mrope=False) == "keep"
    for wanted, published in (("compact", "keep"), ("published", "compact")):
        with pytest.raises(ValueError, match='M has three: take positions="keep"'):
            place(wanted, published, "M", has_mrope=True)


@pytest.mark.parametrize(
    ("method", "policy"),
    [
        (DivPrune(0.25), "compact"),
        (FastV(0.25, layer=1), "compact"),
        (FastV(0.25, layer=1, positions="published"), "keep"),
        (PyramidDrop(n_stages=3, positions="published"), "compact"),
        (FastV(0.25, layer=1, mode="skip"), "keep"),
    ],
)
def test_the_report_names_the_policy(model, prompt, entered, method, policy):
    with torch.no_grad(), prune(model, method) as report:
        model(**prompt([[2, "I", 3]]))
    assert f"positions={policy}" in report.method
    if isinstance(method, DivPrune):
        # 2 + 4 + 3 tokens
        assert entered[0]["position_ids"].tolist() == [[*range(9)]]


def test_three_parts_keep_their_place():
    feed = fed("qwen2_5_vl")
    for method in (DivPrune(0.25), FastV(0.25, layer=1)):
        with torch.no_grad(), prune(feed.model, method) as report:
            feed.model(**feed.encode([[2, "I", 3]]))
        assert "positions=keep" in report.method


def test_trained_thresholds_keep_places_and_newlines():
    assert (ATP().positions, ATP().newlines) == ("keep", "keep")


@pytest.mark.parametrize("name", families.params(["llava", "gemma3", "gemma4", "idefics3", "step3p7"]))
def test_the_default_inside_the_decoder_can_be_had(name):
    """Whatever a backbone tells its layers of positions, the default is one of the two that it can do."""
    feed = fed(name)
    with torch.no_grad(), prune(feed.model, FastV(0.25, layer=1)) as report:
        feed.model(**feed.encode([[2, "I", 3]]))
    assert report.visual_after < report.visual_before
