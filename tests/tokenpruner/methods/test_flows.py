"""Flows: schedules as text, the router and its file by hand; `test_skipped_layers` has what they do in a model."""

from __future__ import annotations

import pytest
import torch

from prunekernels import spec
from tests.tokenpruner.methods.flow_replay import rigged
from tokenpruner.base.layer_flow import Flow, row_features
from tokenpruner.methods._flow_router import FlowRouter
from tokenpruner.methods.flows import SCHEDULES, Flows
from tokenpruner.report.flops import LayerCost

MIXED = ("full", "1:0.25", "1:0.5+2:skip", "2:skip")


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("text", ["full", "2:0.25", "2:0.5+6:0.25", "2:0.5+5:skip", "1:skip", "3:skip+4:skip"])
def test_a_schedule_comes_back(text):
    assert str(Flow.parse(text)) == text


def test_a_schedule_by_hand():
    flow = Flow.parse("5:skip+2:0.50+6:skip+3:.25")
    assert flow == Flow(((2, 0.5), (3, 0.25)), (5, 6))
    assert (str(flow), flow.layers) == ("2:0.5+3:0.25+5:skip+6:skip", (2, 3, 5, 6))
    assert [Flow.parse(one).keeps_all for one in ("full", "2:1", "2:skip", "2:0.9")] == [True, True, False, False]
    # 100 a token and 1 a pair: whole layers of 7 others, 16 and 5 of an image, then 8 and 3, then 4 and 2
    cost = LayerCost(100, 1)
    whole, half, quarter = (100 * n + n * n for n in (28, 7 + 8 + 3, 7 + 4 + 2))
    assert flow.flops([cost] * 8, [16, 5], 7) == 2 * whole + half + 3 * quarter


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "want a schedule such as"),
        ("2", "want a schedule such as"),
        ("2:skip+", "want a schedule such as"),
        ("-2:skip", "want a schedule such as"),
        ("2:half", "want a schedule such as"),
        ("0:0.5", "ascend from 1 or more"),
        ("0:skip", "ascend from 1 or more"),
        ("3:0.5+2:0.25", "ascend from 1 or more"),
        ("3:skip+3:skip", "ascend from 1 or more"),
        ("2:0", r"number in \(0, 1\]"),
        ("2:1.5", r"number in \(0, 1\]"),
        ("2:0.25+3:0.5", "want fewer tokens from cut to cut"),
        ("2:skip+3:0.5", r"layer 3: its cut reads the attention of layer 2, which 2:skip\+3:0\.5 skips"),
    ],
)
def test_what_is_no_schedule_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        Flow.parse(text)


def test_fields():
    assert Flows().flows() == (Flow.parse(SCHEDULES[0]),)
    assert Flows(("full",)).keeps_all
    assert [stage.keep_ratio for stage in Flows(("1:0.5+2:0.25",)).stages(3)] == [0.5, 0.25]
    told = Flows(("2:0.25+3:skip", "full"))
    assert spec.build("tokenpruner.methods", str(told), Flows) == told
    assert str(told.fixed(told.flows()[0])) == "flows:schedules=2:0.25+3:skip/"
    for wrong in ((), ("full", "full"), ("2:0.5", "2:0.50"), ("2:x",)):
        with pytest.raises(ValueError, match="want"):
            Flows(wrong)
    with pytest.raises(ValueError, match="want layers from 1 to 2 of the 3"):
        Flows(("3:skip",)).stages(3)


def test_features_by_hand():
    hidden = torch.tensor(
        [[[9.0, 9], [3, 4], [1, 0], [3, 0], [0, 2]], [[1, 1], [2, 2], [torch.nan] * 2, [0, 1], [5, 5]]]
    )
    visual = torch.tensor([[0, 0, 1, 1, 0], [1, 1, 0, 0, 0]]).bool()
    text = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 0, 1, 0]]).bool()
    found = row_features(hidden, visual, text)
    # means of (1, 0), (3, 0), of (3, 4), (0, 2), and (0, 2), each over its root mean square
    wanted = [[2, 0, 1.5, 3, 0, 2], [1.5, 1.5, 0, 1, 0, 1]]
    for got, row in zip(found, torch.tensor(wanted), strict=True):
        parts = row.view(3, 2)
        close(got, (parts / parts.square().mean(1, keepdim=True).sqrt()).flatten())
    # halves are read as float32
    assert row_features(hidden.half(), visual, text).dtype == torch.float32


def test_a_router_by_hand():
    router = FlowRouter(("full", "1:0.5"), inputs=2, width=1)
    assert router(torch.randn(3, 2)).unique().tolist() == [0.5]
    with torch.no_grad():
        router.mean.copy_(torch.tensor([1.0, 0.0]))
        router.scale.copy_(torch.tensor([2.0, 1.0]))
        router.layers[0].weight.copy_(torch.tensor([[1.0, 1.0]]))
        router.layers[0].bias.zero_()
        router.layers[2].weight.copy_(torch.tensor([[0.0], [1.0]]))
        router.prices.copy_(torch.tensor([0.25, 0.1]))
    x = torch.nn.functional.gelu(torch.tensor(2.0 * (3 - 1) + 1))
    close(router(torch.tensor([[3.0, 1.0]])), torch.stack([torch.tensor(0.25), x.sigmoid() - 0.1])[None])
    assert router.flops == 2 * (2 * 1 + 1 * 2)
    with pytest.raises(ValueError, match="want a router for 3 numbers an input, got one for 2"):
        router(torch.zeros(1, 3))


def test_a_router_comes_back(tmp_path):
    router = rigged(MIXED, 6)
    assert router.save(tmp_path) == tmp_path / "flows.safetensors"
    again = FlowRouter.load(tmp_path)
    assert (again.flows, again.inputs, again.width) == (router.flows, 6, router.width)
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in router.state_dict().items())
    assert not any(weight.requires_grad for weight in again.parameters())
    method = Flows(weights=str(tmp_path))
    assert [*map(str, method.flows())] == [*MIXED]
    assert Flows(MIXED, str(tmp_path)).flows() == method.flows()
    with pytest.raises(ValueError, match="want a router among full/1:0.5, got .* among full/1:0.25"):
        Flows(("full", "1:0.5"), str(tmp_path)).flows()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"inputs": "6", "width": "8"}, "without inputs and schedules and width"),
        ({"inputs": "6", "width": "8", "schedules": "full/x"}, "want a schedule such as"),
        ({"inputs": "6", "width": "8", "schedules": "/".join(f"{n}:skip" for n in range(1, 99))}, "want 1 to 64"),
        ({"inputs": "7", "width": "8", "schedules": "full/1:0.5"}, r"of shape \["),
        ({"inputs": "99999", "width": "8", "schedules": "full/1:0.5"}, "want inputs from 1 to 65536"),
        ({"inputs": "6", "width": "9999", "schedules": "full/1:0.5"}, "want a width from 1 to 1024"),
    ],
)
def test_a_file_that_is_not_ours_is_named(tmp_path, words, why):
    from safetensors.torch import save_file

    path = tmp_path / "flows.safetensors"
    save_file(dict(FlowRouter(("full", "1:0.5"), 6, 8).state_dict()), path, {"format": "pt", **words})
    with pytest.raises(ValueError, match=why) as caught:
        FlowRouter.load(path)
    assert str(path) in str(caught.value)
