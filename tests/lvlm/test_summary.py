"""The short table and its verdicts, out of marks made by hand."""

from __future__ import annotations

import torch

from benchmarks.lvlm.retention.cases import Case, cuts_once_inside
from benchmarks.lvlm.retention.journal import Entry
from benchmarks.lvlm.retention.subject import Picture
from benchmarks.lvlm.retention.summary import SummaryRow, opening, summary
from benchmarks.lvlm.retention.table import rows
from benchmarks.lvlm.scene import KINDS
from tests.lvlm.conftest import QUESTIONS

N = 60
KEPT = ("random", "divprune", "fastv:layer=2", "stride", "random_inside:layer=2")
COMPACT = ("downsample", "divprune")
CASES = [
    Case(),
    *(Case(text, 0.25, "keep") for text in KEPT),
    *(Case(text, 0.25, "compact") for text in COMPACT),
]
# of ten questions so many right
RIGHT = {"full": 10, "random": 5, "divprune": 8, "fastv:layer=2": 6, "stride": 5, "random_inside:layer=2": 8,
         "downsample": 8}  # fmt: skip


def test_a_method_is_told_as_behind_random_at_its_own_place() -> None:
    asked = {kind: [Picture(torch.zeros(1), list(QUESTIONS[0][:1]))] * N for kind in KINDS}
    entries = {}
    for case in CASES:
        marks = [[number % 10 < RIGHT[case.text or "full"]] for number in range(N)]
        entries |= {(case.name, kind): Entry(case.name, kind, marks) for kind in KINDS}
    found = {row.method: row for row in summary(rows(CASES, asked, entries), entries)}
    assert [*found] == ["full", "divprune", "random_inside:layer=2", "downsample", "fastv:layer=2", "random", "stride"]
    assert (found["divprune"].main, found["divprune"].small, found["divprune"].reading) == (0.8, 0.8, 0.8)
    verdicts = {name: (row.against_random, row.against_downsample) for name, row in found.items()}
    assert verdicts == {
        "full": ("", ""),
        "divprune": ("ahead", "level"),
        # ahead of random choice before the decoder, and behind it at the same layer
        "fastv:layer=2": ("behind", "behind"),
        "stride": ("level", "behind"),
        "random": ("", "behind"),
        "random_inside:layer=2": ("ahead", "level"),
        "downsample": ("ahead", ""),
    }


def test_at_equal_flops_a_method_inside_pays_for_the_layers_before_its_cut() -> None:
    inside = ("fastv:layer=2,flops_ratio=0.3", "random_inside:layer=2,flops_ratio=0.3")
    smaller = Case("downsample:n_keep=100", 0.25, "compact", "flops")
    cases = [*CASES, smaller, *(Case(text, 0.25, "keep", "flops") for text in inside)]
    right = RIGHT | {inside[0]: 4, inside[1]: 4, "downsample:n_keep=100": 9}
    asked = {kind: [Picture(torch.zeros(1), list(QUESTIONS[0][:1]))] * N for kind in KINDS}
    entries = {}
    for case in cases:
        marks = [[number % 10 < right[case.text or "full"]] for number in range(N)]
        entries |= {(case.name, kind): Entry(case.name, kind, marks) for kind in KINDS}
    found = summary(rows(cases, asked, entries), entries, "flops")
    assert [(row.method, row.main, row.against_random, row.against_downsample) for row in found] == [
        ("full", 1.0, "", ""),
        ("downsample:n_keep=100", 0.9, "ahead", ""),
        ("divprune", 0.8, "ahead", "behind"),
        ("random", 0.5, "", "behind"),
        ("stride", 0.5, "level", "behind"),
        # random choice at the same layer is as good
        (inside[0], 0.4, "level", "behind"),
        (inside[1], 0.4, "behind", "behind"),
    ]


def test_which_methods_have_a_layer_to_choose_at_random_at() -> None:
    texts = ("fastv:layer=2", "random_inside:layer=2", "sparsevlm:layers=0/1/2", "divprune", "pyramiddrop")
    assert [cuts_once_inside(text) for text in texts] == [True, False, False, False, False]


def test_the_opening_has_the_baselines_and_the_best() -> None:
    def row(method: str, keep_ratio: float = 0.25) -> SummaryRow:
        return SummaryRow(method, keep_ratio, 1.0, 1.0, {}, 0.5, 0.5, 0.5, "", "")

    own = [row("full", 1), *map(row, "abcdefghij"), row("random"), row("random_inside:layer=2"), row("random", 0.11)]
    found = [(one.method, one.keep_ratio) for one in opening(own)]
    assert found == [("full", 1), *((name, 0.25) for name in [*"abcdefgh", "random", "random_inside:layer=2"])]
