"""Which questions are lost, easy and hard ones, and what positions change, out of marks made by hand."""

from __future__ import annotations

import pytest
import torch

from benchmarks.lvlm.questions import Question
from benchmarks.lvlm.retention.cases import Case
from benchmarks.lvlm.retention.details import details
from benchmarks.lvlm.retention.journal import Entry
from benchmarks.lvlm.retention.subject import Picture
from benchmarks.lvlm.retention.table import rows
from benchmarks.lvlm.scene import KINDS

N = 40
CASES = [Case(), Case("downsample", 0.25, "compact"), *(Case("stride", 0.25, one) for one in ("keep", "compact"))]
QUESTIONS = [Question("region", "what is in the centre ?", "cat"), Question("number", "what is printed ?", "4")]


def _marks(case: Case, number: int) -> list[bool]:
    """The first question right or not, and the second: of the picture with this number."""
    if case.text is None:
        return [True, True]
    if case.text == "downsample":
        return [True, number % 4 == 0]
    return [number % 2 == 0, case.positions == "keep"]


def test_details_are_what_the_marks_say() -> None:
    asked = {kind: [Picture(torch.zeros(1), QUESTIONS)] * N for kind in KINDS}
    entries = {}
    for case in CASES:
        marks = [_marks(case, number) for number in range(N)]
        entries |= {(case.name, kind): Entry(case.name, kind, marks) for kind in KINDS}
    full, stride, smaller = details(rows(CASES, asked, entries), entries)
    assert [one.method for one in (full, stride, smaller)] == ["full", "stride", "downsample"]
    assert (full.region, full.easy, full.hard, full.compact_less_keep) == (1.0, 1.0, 1.0, None)
    assert (smaller.region, smaller.number, smaller.easy, smaller.hard) == (1.0, 0.25, 1.0, 0.0)
    assert (smaller.compact_less_keep, smaller.compact_against_keep) == (None, "")
    assert (stride.region, stride.count, stride.number) == (0.5, None, 1.0)
    # of a kind's fifty easy questions it has half of the forty first ones right, and the ten second ones
    assert (stride.easy, stride.hard) == (pytest.approx(0.6), 1.0)
    assert (stride.compact_less_keep, stride.compact_against_keep) == (-0.5, "behind")
