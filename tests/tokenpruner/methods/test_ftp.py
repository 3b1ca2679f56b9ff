"""FTP: schedule, router and its file by hand, and tokens that pass single layers by against a loop."""

from __future__ import annotations

import math

import pytest
import torch

from prunekernels import budget
from tests.tokenpruner.checkpointing import checkpoint
from tests.tokenpruner.methods.ftp_replay import SCHEDULE, four_factors, replay, trained
from tokenpruner import prune
from tokenpruner.base.inside_decoder import LayerContext, Stage
from tokenpruner.methods._ftp_router import FTPRouter, computed, factors, first_and_last
from tokenpruner.methods.ftp import FTP, uniform
from tokenpruner.models.attention import Attention

GREEDY = {"do_sample": False, "max_new_tokens": 5, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5], ["I"]]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


def test_a_schedule_for_the_mean_share():
    shares = FTP(0.7).shares(32)
    assert shares[0] == 0
    assert len({*shares[1:]}) == 1
    assert sum(shares) == pytest.approx(0.3 * 32)
    assert [stage.layer for stage in FTP().stages(32)] == [*range(1, 32)]
    assert FTP(schedule=SCHEDULE).stages(3) == (Stage(1, 0.6), Stage(2, 1 - 0.7))
    # a layer that nothing passes by is none of its stages
    assert [stage.layer for stage in FTP(schedule=(0, 0, 0.5, 0)).stages(4)] == [2]
    assert FTP(schedule=(0, 0)).keeps_all
    assert FTP(1.0).keeps_all
    with pytest.raises(ValueError, match=r"want a keep_ratio above 0\.25, .* got 0\.25"):
        uniform(4, 0.25)
    with pytest.raises(ValueError, match="want at least 2 decoder layers"):
        uniform(1, 0.5)
    with pytest.raises(ValueError, match="want a schedule for 4 decoder layers, got one for 3"):
        FTP(schedule=SCHEDULE).stages(4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": (0.1, 0.5)},
        {"schedule": (0, 1.0)},
        {"schedule": (0,)},
        {"schedule": (0, math.nan)},
        {"schedule": SCHEDULE, "keep_ratio": 0.5},
        {"weights": "x", "keep_ratio": 0.5},
        {"positions": "compact"},
    ],
)
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(ValueError, match="want"):
        FTP(**wrong)


def test_the_static_router():
    assert first_and_last(6, 4, torch.device("cpu")).tolist() == [0, 3, 4, 5]
    assert first_and_last(6, 1, torch.device("cpu")).tolist() == [0]
    assert first_and_last(6, 6, torch.device("cpu")).tolist() == [*range(6)]


def test_factors_by_hand():
    # the second of two equal ones ranks behind the first
    attention = torch.tensor([0.1, 0.3, 0.1, 0.0], dtype=torch.float64)
    found = factors(torch.tensor([0, 3, 4, 7]), 8, attention, 0.25)
    wanted = [
        [0.5 / 8, math.log(1.4), 1.5 / 4, 0.25],
        [3.5 / 8, math.log(2.2), 0.5 / 4, 0.25],
        [4.5 / 8, math.log(1.4), 2.5 / 4, 0.25],
        [7.5 / 8, 0, 3.5 / 4, 0.25],
    ]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))


def test_what_a_router_computes():
    # p above 1/2, and the most likely one
    assert computed(torch.tensor([0.1, -0.1, 0.0, 3.0])).tolist() == [True, False, False, True]
    assert computed(torch.tensor([-2.0, -1.0, -3.0])).tolist() == [False, True, False]
    # a new one computes everything
    assert (FTPRouter(SCHEDULE)(torch.rand(9, 4)) == 1).all()


@pytest.mark.parametrize("schedule", [SCHEDULE, (0.0, 0.3096774193548387, 1e-5), (0, *[0.01] * 100)])
def test_a_router_comes_back(tmp_path, schedule):
    router = FTPRouter(schedule, width=8)
    assert router.save(tmp_path) == tmp_path / "ftp.safetensors"
    again = FTPRouter.load(tmp_path)
    assert (again.schedule, again.width) == (tuple(map(float, schedule)), 8)
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in router.state_dict().items())
    assert not any(weight.requires_grad for weight in again.parameters())
    # over its own kind alone
    router.save(tmp_path)
    (tmp_path / "atp.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match="nothing that may be replaced"):
        router.save(tmp_path / "atp.safetensors")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"schedule": "0/0.5"}, "without schedule and width"),
        ({"schedule": "0/x", "width": "8"}, "want a schedule such as 0/0.25/0.5, got '0/x'"),
        ({"schedule": "0/" * 2000 + "0", "width": "8"}, "want a schedule such as"),
        ({"schedule": "0.5/0", "width": "8"}, "none the first, got"),
        ({"schedule": "0/0.5", "width": "9"}, r"of shape \[9"),
        ({"schedule": "0/0.5", "width": "99999"}, "want a width from 1 to 1024"),
    ],
)
def test_a_file_that_is_not_ours_is_named(tmp_path, words, why):
    from safetensors.torch import save_file

    path = tmp_path / "ftp.safetensors"
    save_file(dict(FTPRouter((0, 0.5), width=8).state_dict()), path, {"format": "pt", **words})
    with pytest.raises(ValueError, match=why) as caught:
        FTPRouter.load(path)
    assert str(path) in str(caught.value)


def test_a_router_chooses_by_the_text(tmp_path):
    trained().save(tmp_path)
    generator = torch.Generator().manual_seed(1)
    q, k = torch.randn(2, 4, 21, 8, generator=generator, dtype=torch.float64).unbind()
    columns, text = torch.arange(2, 18), torch.tensor([0, 1, 18, 19, 20])
    seen = Attention(q, k[:2], 8**-0.5)
    given = LayerContext(torch.zeros(16, 8), torch.arange(16), 16, Stage(1, reads=1), columns, text, seen)
    look = seen.weights(text[2:])[..., columns].mean((0, 1))
    wanted = computed(trained()(four_factors(look.tolist(), 0.4)))
    method = FTP(weights=str(tmp_path))
    picks = method.select(given)
    assert picks.tolist() == wanted.nonzero().flatten().tolist()
    assert 0 < len(picks) < 16
    # a schedule beside the weights is the one that counts
    other = FTP(weights=str(tmp_path), schedule=(0, 0.9, 0.5)).select(given)
    assert other.tolist() == computed(trained()(four_factors(look.tolist(), 0.9))).nonzero().flatten().tolist()
    assert [stage.keep_ratio for stage in method.stages(3)] == [None, None]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("learned", [False, True])
def test_forward_is_the_loop(model, prompt, singles, tmp_path, learned, side):
    router = trained() if learned else None
    if router is not None:
        router.save(tmp_path)
    shares = SCHEDULE if learned else (0, 0.7, 0.4)
    inputs, method = prompt(RAGGED, side), FTP(weights=str(tmp_path)) if learned else FTP(schedule=shares)
    with torch.no_grad(), prune(model, method) as report:
        cached = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
    wanted = [replay(model, row, shares, router) for row in singles(inputs)]
    for row, run in enumerate(wanted):
        real = inputs["attention_mask"][row].bool()
        close(cached[row][real], run.logits)
        close(uncached[row][real], run.logits)
    first, second, whole = report.prefills[0].cuts
    for layer, cut in enumerate((first, second)):
        assert [list(image.kept) for image in cut] == [own for run in wanted for own in run.computed[layer]]
        assert {image.layer for image in cut} == {layer + 1}
    # tokens that passed the second layer by are computed by the third one
    assert any({*two.kept} - {*one.kept} for one, two in zip(first, second, strict=True))
    if learned:
        assert len({len(image.kept) for image in (*first, *second)}) > 2
    # behind the last layer all of them are there
    assert report.prefills[0].images == whole
    assert (report.visual_before, report.visual_after) == (8 * 16, 8 * 16)
    assert report.prefills[0].tokens_after == report.prefills[0].tokens_before


@pytest.mark.parametrize("use_cache", [True, False])
def test_generation_is_the_loop(model, prompt, singles, tmp_path, use_cache):
    router, inputs = trained(), prompt(RAGGED)
    router.save(tmp_path)
    with prune(model, FTP(weights=str(tmp_path))):
        out = model.generate(**inputs, **GREEDY, use_cache=use_cache)
    told = out.sequences[:, inputs["input_ids"].shape[1] :]
    for row, alone in enumerate(singles(inputs)):
        run = replay(model, alone, SCHEDULE, router, told[row, :-1].tolist())
        close(torch.stack(out.logits, 1)[row], run.logits[-5:])


def test_layers_cost_what_they_compute(model, prompt):
    with torch.no_grad(), prune(model, FTP(schedule=(0, 0.5, 0.75))) as report:
        model(**prompt([[2, "I", 3]]))
    assert [after for _, after in report.layers] == [21, 13, 9]
    # hidden 32, attention 4 x 8 wide, keys 2 x 8, MLP 48
    read = 2 * 21 * 32 * (32 + 16 + 16)
    some = [2 * n * (2 * 32 * 32 + 2 * 32 * 16) + 4 * n * 21 * 32 + 2 * n * 3 * 32 * 48 for n in (21, 13, 9)]
    assert report.flops_after == some[0] + 2 * read + some[1] + some[2]
    assert report.kv_bytes_after == report.kv_bytes_before


def test_a_layer_between_two_stages_computes_all(model, prompt, singles):
    inputs, method = prompt([[2, "I", 3]]), FTP(schedule=(0, 0.5, 0))
    with torch.no_grad(), prune(model, method) as report:
        got = model(**inputs).logits
    (row,) = singles(inputs)
    close(got[0], replay(model, row, (0, 0.5, 0)).logits)
    assert [after for _, after in report.layers] == [21, 13, 21]


@pytest.mark.parametrize("mode", ["drop", "skip"])
def test_other_modes_do_without_for_good(model, prompt, mode):
    with torch.no_grad(), prune(model, FTP(schedule=(0, 0.75, 0.5), mode=mode)) as report:
        model(**prompt([[2, "I", 3]]))
    assert [after for _, after in report.layers] == [21, 9, 9]
    assert report.images[0].kept == (0, 13, 14, 15)


def test_what_other_methods_leave_comes_back_too(model, prompt, singles):
    """The mode is of the engine: PyramidDrop chooses anew at each of its cuts."""
    from tokenpruner.methods.pyramiddrop import PyramidDrop

    inputs = prompt([[2, "I", 3], ["I", 6]])
    method = PyramidDrop(0.5, n_stages=3, mode="route")
    with torch.no_grad(), prune(model, method) as report:
        together = model(**inputs).logits
        alone = [model(**row).logits[0] for row in singles(inputs)]
    for row, own in enumerate(alone):
        close(together[row, -len(own) :], own)
    first, second, _ = report.prefills[0].cuts
    assert [len(image.kept) for image in (*first, *second)] == [8, 8, 4, 4]
    assert budget.n_keep(16, 0.25) == 4


def test_gradient_checkpointing_is_refused(model, prompt):
    inputs = prompt([[2, "I", 3]])
    checkpoint(model, use_reentrant=False)
    model.train()
    refused = pytest.raises(ValueError, match='want no gradient checkpointing with mode="route", .*: take mode="drop"')
    with prune(model, FTP()), refused:
        model(**inputs, labels=inputs["input_ids"])
