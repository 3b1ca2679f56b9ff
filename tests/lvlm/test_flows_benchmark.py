"""What `flows` is compared with spends as much, and rows say what was answered."""

from __future__ import annotations

import pytest
import torch

from benchmarks.lvlm.flows import FIXED, SCHEDULES, Answers, compared, prompt_shares, within
from tokenpruner import Report
from tokenpruner.base.layer_flow import Flow
from tokenpruner.methods.flows import Flows
from tokenpruner.report.flops import LayerCost
from tokenpruner.report.records import Prefill

COSTS = [LayerCost(100, 0)] * 4


def test_a_fixed_schedule_spends_its_budget():
    # 256 tokens and 9 others in layers of one cost: x of the 256 in three layers of four
    assert within(FIXED[0], 0.6, COSTS) == "1:0.4453"
    flow = Flow.parse("1:0.4453")
    assert flow.flops(COSTS, [256], 9) == 100 * (265 + 3 * (114 + 9)) <= 0.6 * 4 * 26500 < 100 * (265 + 3 * (115 + 9))
    # all tokens stay where a skipped layer saves enough, and some kinds cannot be had
    assert within(FIXED[-1], 0.75, COSTS) == "1:1+3:skip"
    assert within(FIXED[2], 0.6, COSTS) is None
    for way in FIXED:
        text = within(way, 0.8, COSTS)
        assert 0.75 <= Flow.parse(text).flops(COSTS, [256], 9) / (4 * 26500) <= 0.8
    assert len(Flows(SCHEDULES).schedules) == len(SCHEDULES)


def test_shares_are_those_of_each_prompt():
    seen = ((10, 20), (5, 20), (0, 20), (5, 20))
    prefill = Prefill((), (10, 20), (5, 20), 0.0, None, None, None, None, None, layers=seen)
    report = Report(prefills=[prefill])
    assert prompt_shares(report, COSTS, routing=100) == [(20 * 100 + 100) / 4000, (8000 + 100) / 8000]


@pytest.mark.parametrize(("flows", "verdict"), [(1, "ahead"), (0, "level"), (-1, "behind")])
def test_rows(flows, verdict):
    draw = torch.Generator().manual_seed(0)
    plain = (torch.rand(60, 4, generator=draw) < 0.5).tolist()
    better = [[True] * 4 for _ in plain]
    fixed, own = (better, plain) if flows < 0 else (plain, plain if flows == 0 else better)
    full = {"main": plain[:30], "small": plain[30:]}

    def answers(marks, names):
        right = {"main": marks[:30], "small": marks[30:]}
        return Answers(right, {"main": [0.5] * 120, "small": [0.6] * 120}, {"main": names * 120, "small": names * 120})

    both, main, small = compared(0.55, full, answers(fixed, ["1:0.5"]), answers(own, ["full"]))
    assert [row.pictures for row in (both, main, small)] == ["all", "main", "small"]
    assert [row.asked for row in (both, main, small)] == [240, 120, 120]
    assert (both.verdict, both.schedule, both.chosen) == (verdict, "1:0.5", "full 100%")
    assert both.difference == pytest.approx(both.flows - both.fixed)
    assert both.low <= both.difference <= both.high
    assert [row.flows_share for row in (both, main, small)] == pytest.approx([0.55, 0.5, 0.6])
