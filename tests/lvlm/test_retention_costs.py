"""What a method costs is what is left behind it, in the tower and the decoder; equal FLOPs are equal."""

from __future__ import annotations

import pytest

from benchmarks.lvlm.retention.cases import RANDOM_INSIDE, Case, equal_flops, inside_tower
from benchmarks.lvlm.retention.costs import costs, equal_budget
from benchmarks.lvlm.retention.subject import Picture, Subject


def test_costs_are_those_of_what_is_left(subject: Subject, asked: list[Picture]) -> None:
    full, half, smaller, inside = (
        costs(subject, case.method(), [*asked, asked[0]])
        for case in (
            Case(),
            Case("stride", 0.5, "keep"),
            Case("downsample", 0.25, "compact"),
            Case(f"{RANDOM_INSIDE}:layer=1", 0.25, "keep"),
        )
    )
    assert (full.tokens, half.tokens, smaller.tokens, inside.tokens) == (256, 128, 64, 64)
    assert full.tower_gflop == half.tower_gflop > 3.5 * smaller.tower_gflop
    assert full.decoder_gflop > inside.decoder_gflop > half.decoder_gflop > smaller.decoder_gflop > 0
    assert 0.45 < half.kv_mb / full.kv_mb < 0.6


def test_a_method_inside_the_tower_costs_its_tower_once(subject: Subject, asked: list[Picture]) -> None:
    full, before, inside = (
        costs(subject, case.method(), [*asked, asked[0]])
        for case in (Case(), Case("stride", 0.5, "keep"), Case("tome", 0.5, "keep"))
    )
    assert inside.tokens == before.tokens == 128
    assert inside.decoder_gflop == pytest.approx(before.decoder_gflop, rel=1e-3)
    assert inside.tower_gflop < 0.95 * full.tower_gflop


def test_others_cost_as_much_at_equal_flops(subject: Subject, asked: list[Picture]) -> None:
    budgets = equal_budget(subject, 0.8, ["tome"])
    assert inside_tower() == ["random_patches", "tome", "zero_tprune"]
    compact = [case for case in equal_flops(0.8, budgets) if case.positions == "compact"]
    merging = next(case for case in compact if case.text.startswith("tome"))
    most, smaller, inside, merged = (
        costs(subject, case.method(), [*asked, asked[0]])
        for case in (Case("stride", 0.8, "compact"), *compact[:2], merging)
    )
    both = most.tower_gflop + most.decoder_gflop
    assert both > merged.tower_gflop + merged.decoder_gflop > 0.99 * both
    assert inside.decoder_gflop == pytest.approx(most.decoder_gflop, rel=0.02)
    assert smaller.tokens == budgets.n_smaller > 128
    assert smaller.tower_gflop + smaller.decoder_gflop <= both
