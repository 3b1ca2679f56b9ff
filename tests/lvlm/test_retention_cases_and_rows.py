"""Every method has its place among the cases, and rows are what the marks of the journal say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.lvlm.retention.__main__ import measured_on
from benchmarks.lvlm.retention.cases import LEFT_OUT, RANDOM_INSIDE, Case, alike, cases
from benchmarks.lvlm.retention.costs import Costs
from benchmarks.lvlm.retention.intervals import interval
from benchmarks.lvlm.retention.journal import MEASURED, Entry, Journal, Session
from benchmarks.lvlm.retention.subject import Picture
from benchmarks.lvlm.retention.table import rows
from prunekernels import registry
from tokenpruner.base.token_method import METHODS


def test_every_method_is_asked_or_left_out_for_a_reason() -> None:
    names = {case.text.partition(":")[0] for case in cases() if case.text}
    assert names - {RANDOM_INSIDE} == {*registry.names(METHODS)} - {*LEFT_OUT}
    for case in cases()[1:]:
        method = case.method()
        assert getattr(method, "positions", case.positions) == case.positions


def test_intervals_hold_the_share_and_narrow_with_the_pictures() -> None:
    few, many = ([[True, number % 4 > 0] for number in range(n)] for n in (20, 500))
    for marks in (few, many):
        low, high = interval(marks)
        assert low < 0.875 < high
    assert interval(many)[1] - interval(many)[0] < 0.5 * (interval(few)[1] - interval(few)[0])
    assert interval(few, few) == (1.0, 1.0)


def test_rows_are_what_the_journal_says(tmp_path: Path, asked: list[Picture]) -> None:
    journal, spent = Journal(tmp_path / "journal.jsonl", "own"), Costs(64, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    journal.add(Entry("full", "main", [[True, True], [True, False]]))
    journal.add(Entry("downsample 0.25 compact", "main", [[True, False], [False, False]]))
    journal.add(Entry("stride 0.25 keep", "main", [[False, True], [True, False]]))
    journal.add(Entry("stride 0.25 keep", MEASURED, [], spent))
    journal.add(Entry("pool 0.25 keep", "main", [], refused="cannot"))
    dataclasses.replace(journal, subject="other").add(Entry("full", "main", [[False, False]] * 2, spent))
    wanted = [Case(), Case("stride", 0.25, "keep"), Case("pool", 0.25, "keep")]
    full, stride, pool = rows(wanted, {"main": asked}, journal.entries())
    assert (full.accuracy, full.retention, full.region, full.number) == (0.75, 1.0, 1.0, 0.5)
    assert (stride.accuracy, stride.easy, stride.hard) == (0.5, 0.0, pytest.approx(2 / 3))
    assert stride.retention == pytest.approx(2 / 3)
    assert (stride.decoder_gflop, pool.accuracy, pool.refused) == (2.0, None, "cannot")
    assert full.decoder_gflop is None


def test_a_journal_is_of_one_device_and_stands_a_cut_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", "own")
    journal.begin(Session({"device": "one"}, "code"))
    journal.add(Entry("full", "main", [[True]]))
    with open(journal.path, "a", encoding="utf-8") as file:
        file.write('{"case": "stride')
    journal.begin(Session({"device": "one"}, "other code"))
    journal.add(Entry("full", "small", [[False]]))
    assert {key: entry.right for key, entry in journal.entries().items()} == {
        ("full", "main"): [[True]],
        ("full", "small"): [[False]],
    }
    assert [one.sources for one in journal.sessions()] == ["code", "other code"]
    with pytest.raises(ValueError, match="made on one, this is two"):
        journal.begin(Session({"device": "two"}, "code"))


def test_cases_that_differ_in_positions_alone_go_together() -> None:
    own = alike(cases((0.5, 0.25)))
    assert sorted(case.name for group in own for case in group) == sorted(case.name for case in cases((0.5, 0.25)))
    sizes = {group[0].name: len(group) for group in own}
    assert (sizes["full"], sizes["tome 0.5 keep"], sizes["stride 0.25 keep"]) == (1, 2, 2)
    # inside the decoder what stays may hang on positions
    assert sizes["pyramiddrop 0.5 keep"] == sizes["pyramiddrop 0.5 compact"] == 1


def test_a_record_names_the_commits_that_its_runs_were_of() -> None:
    def session(commit: str | None, *, dirty: bool = False) -> Session:
        return Session({"device": "one", "commit": commit, "dirty": dirty}, "code")

    alone = measured_on([session("a"), session("a")])
    assert alone == {"device": "one", "commit": "a", "dirty": False}
    assert measured_on([session("a"), session("b"), session("a")])["commits"] == ["a", "b"]
    assert measured_on([session("a"), session("b")])["commit"] == "b"
    # of code that no commit has, and that is not what is here
    for sessions in ([session("a", dirty=True), session("b")], [session(None, dirty=True)]):
        found = measured_on(sessions)
        assert found["dirty"]
        assert "commits" not in found
