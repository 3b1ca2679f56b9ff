"""Progress: what is counted, by whom, and the lines where there is no terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapruner import Source, score
from datapruner.scoring import progress
from tests.datapruner.scoring.engine_scorers import Failing


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_line_every_half_minute_without_a_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    bar = progress.Bar(None, "perplexity", 5000)
    bar.skip(1000)
    clock.now += 10
    bar.begin()
    for _ in range(50):
        clock.now += 1
        bar.move(40, 9000)
    # 20 s after its begin, and 30 s after that
    assert capsys.readouterr().err.splitlines() == [
        "perplexity: 1,800 of 5,000 rows  40 rows/s  9,000 tokens/s  0:01:20 left",
        "perplexity: 3,000 of 5,000 rows  40 rows/s  9,000 tokens/s  0:00:50 left",
    ]


def test_a_step_of_unknown_length_and_one_that_has_not_begun(clock: Clock) -> None:
    bar = progress.Bar(None, "reading", None)
    assert bar.line() == "reading: 0 rows"
    bar.begin()
    clock.now += 2
    bar.move(9, 0)
    assert bar.line() == "reading: 9 rows  4.5 rows/s"


def test_shares_add_up_to_the_rows_whatever_a_scorer_reports() -> None:
    told: list[tuple[float, int]] = []
    for reports in ((), ((4.0, 7),), ((4.0, 7), (16.0, 1))):
        told.clear()
        for _ in range(2):
            with progress.share(lambda rows, tokens: told.append((rows, tokens)), 20, 2):
                for rows, tokens in reports:
                    progress.advance(rows, tokens)
        assert sum(rows for rows, _ in told) == pytest.approx(20)
        assert sum(tokens for _, tokens in told) == 2 * sum(tokens for _, tokens in reports)
    progress.advance(1, 1)
    assert len(told) == 6


@pytest.mark.parametrize("engine", ["local", "local:workers=2"])
def test_a_pass_counts_every_row_once(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    bars: list[progress.Bar] = []

    class Kept(progress.Bar):
        def begin(self) -> None:
            super().begin()
            bars.append(self)

    source, scorer = Source(corpus, chunk_rows=10), Failing(how="not")
    table = score(source, ["length", scorer], tmp_path / "t")
    for chunk in (1, 5, 10):
        table.part("length", chunk).unlink()
    table.manifest["columns"]["length"]["complete"] = False
    table.save()
    monkeypatch.setattr(progress, "Bar", Kept)
    score(source, ["length", scorer], tmp_path / "t", engine)
    (bar,) = bars
    assert (bar.name, bar.done, bar.skipped) == ("length", 103, 80)


def test_a_short_run_says_nothing(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(corpus, ["length", "near_duplicate"], tmp_path / "t")
    assert capsys.readouterr() == ("", "")
