"""What is said of a table: the words of a comparison, the sentence, the picture."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from datapruner.cli.evaluation_view import show_result
from datapruner.evaluation.cells import Trained
from datapruner.evaluation.comparison import Scale, Trials, rows_of
from datapruner.evaluation.curve_svg import Curve, figure, frame_of
from datapruner.evaluation.equal_steps import Point
from datapruner.evaluation.kept_rows import Kept
from datapruner.evaluation.page import render
from datapruner.evaluation.result import Result, Row
from datapruner.evaluation.verdict import verdict
from tests.datapruner.output.pages import check_page

N = 100


def trials(way: str, share: float, mean: float, is_candidate: bool = False, spread: float = 0.002) -> Trials:
    """Four trainings around `mean`, whose differences from others are not all one."""
    noise = spread * np.random.default_rng([*way.encode(), int(100 * share)]).normal(size=4)
    trained = [Trained((Point(5, 1.0, mean / 2), Point(10, 2.0, mean + item))) for item in noise]
    kept = [Kept(np.arange(round(share * N)), None, round(share * N))] * 4
    ratio = None if way == "all" else share
    return Trials(way, is_candidate, ratio, "all" if way == "all" else f"{share:g}", kept, trained, 3.0 * is_candidate)


def table(*found: Trials, sign: int = 1) -> list[Row]:
    names = ["a"] * 50 + ["b"] * 50
    return rows_of(found, Scale(sign, 0.01, 0.89, N, N), {"label": names})


def test_applied_is_what_beats_a_draw_and_loses_nothing_with_the_fewest_rows() -> None:
    rows = table(
        trials("all", 1, 0.9), trials("random", 0.2, 0.7), trials("good", 0.2, 0.8, True),
        trials("random", 0.5, 0.85), trials("good", 0.5, 0.91, True), trials("best", 0.5, 0.93, True),
        trials("random", 0.8, 0.88), trials("good", 0.8, 0.95, True),
    )  # fmt: skip
    apply, sentence = verdict(rows, "accuracy", 0.01, 1)
    assert apply == "best"
    assert sentence.startswith("Apply best and keep 50 %: with equal steps its accuracy is not worse")
    words = {(row.way, row.ratio): [item.word for item in row.against] for row in rows}
    assert words["good", 0.2] == ["worse", "better"]
    assert words["best", 0.5] == ["better", "better"]


def test_nothing_is_applied_where_a_draw_does_as_well() -> None:
    rows = table(trials("all", 1, 0.9), trials("random", 0.5, 0.9), trials("own", 0.5, 0.9, True))
    apply, sentence = verdict(rows, "accuracy", 0.01, 1)
    assert apply is None
    assert sentence.startswith("Keep everything: no selection is shown to beat rows drawn at random; a draw of 50 %")


def test_nothing_is_applied_that_costs_quality_and_what_is_best_under_need_is_said() -> None:
    rows = table(trials("all", 1, 0.9), trials("random", 0.1, 0.5), trials("own", 0.1, 0.7, True))
    apply, sentence = verdict(rows, "accuracy", 0.01, 1)
    assert apply is None
    assert "where no more than 10 % can be kept, own beats a draw (+0.2" in sentence


def test_fewer_bits_are_better() -> None:
    rows = table(trials("all", 1, 1.5), trials("random", 0.5, 1.6), trials("own", 0.5, 1.4, True), sign=-1)
    assert verdict(rows, "bits per byte", 0.01, -1)[0] == "own"
    own = rows[2]
    assert own.against[0].difference.mean == pytest.approx(0.1, abs=0.01)


def test_luck_among_many_is_not_applied() -> None:
    """Forty selections that are draws, nearly: uncorrected, one or the other "beats" the draw."""
    lots = [trials(f"lot {n}", 0.5, 0.9, True, 0.02) for n in range(40)]
    rows = table(trials("all", 1, 0.9, spread=0.02), trials("random", 0.5, 0.9, spread=0.02), *lots)
    plain = [row.against[1].difference.p <= 0.05 for row in rows if row.is_candidate]
    assert any(plain)
    assert verdict(rows, "accuracy", 0.01, 1)[0] is None


def test_time_counts_what_came_before_and_only_if_all_arrive() -> None:
    whole, own = trials("all", 1, 0.9), trials("own", 0.5, 0.95, True)
    rows = table(whole, trials("random", 0.5, 0.7), own)
    assert rows[2].cost.before == 3
    assert rows[2].cost.seconds_to_target == pytest.approx(3 + 2)
    assert rows[2].cost.steps_to_target == 10
    assert (rows[1].cost.reached, rows[1].cost.seconds_to_target) == (0, None)
    # an early point counts where it is as good
    early = dataclasses.replace(own, trained=[Trained((Point(5, 1.0, 0.9), Point(10, 2.0, 0.95)))] * 4)
    assert table(whole, early)[1].cost.seconds_to_target == pytest.approx(3 + 1)


def test_drift_and_overlap_worked_by_hand() -> None:
    own = trials("own", 0.6, 0.9, True)
    draw = dataclasses.replace(trials("random", 0.6, 0.9), kept=[Kept(np.arange(40, 100), None, 60)] * 4)
    row = table(trials("all", 1, 0.9), draw, own)[2]
    # rows 0 to 59 are 50 of a and 10 of b, all rows are halves; 20 of the 60 lie in 40 to 99
    assert row.drift[0].moved == pytest.approx(50 / 60 - 0.5)
    assert {item.name: round(item.kept, 4) for item in row.drift[0].shares} == {"a": 0.8333, "b": 0.1667}
    assert row.overlap == pytest.approx(20 / 60)
    assert row.overlap_by_chance == pytest.approx(0.6)


def test_the_picture_stays_in_its_frame() -> None:
    curves = [
        Curve("all <rows>", "whole", [(1.0, 0.9, 0.89, 0.91)]),
        Curve("one", "own", [(0.1, 0.5, -3.0, 4.0)]),
        Curve("line", "draw", [(0.1, 0.5, 0.4, 0.6), (0.5, 0.8, 0.79, 0.81)]),
    ]
    frame = frame_of(curves)
    # one interval that is far wider than everything else does not flatten the rest
    assert frame.low > -1
    drawn = figure("a & b", curves, frame)
    numbers = [float(item) for item in drawn.replace("M", " ").replace("L", " ").split('d="')[1].split("z")[0].split()]
    assert all(-1 <= item <= 961 for item in numbers)
    assert "all &lt;rows&gt;" in drawn
    assert frame.x(1.0) > frame.x(0.5) > frame.x(0.1) >= 0


def result_of(rows: list[Row], proxy: str = "mlp", note: str = "some note") -> Result:
    apply, sentence = verdict(rows, "accuracy", 0.01, 1)
    return Result(
        "accuracy", True, 0.01, 0.89, "rows", N, 50, 0, proxy, 10, {"training": 4}, tuple(rows), apply, sentence,
        (note,),
    )  # fmt: skip


@pytest.mark.parametrize("columns", [80, 200])
def test_names_and_words_are_whole_in_any_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "coverage-centric by"
    rows = table(trials("all", 1, 0.9), trials("random", 0.5, 0.7), trials(name, 0.5, 0.8, True))
    show_result(result_of(rows), "out/report.html")
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= columns
    quality = f"{rows[2].mean:.4f}"
    for said in ("50 %", "coverage-centric", "random", "better", "worse", quality, "some note", "Keep everything"):
        assert said in shown, said
    assert re.search(r"\+0\.(1|09)\d+±0\.0\d+", shown)


def test_a_page_shows_names_and_obeys_none() -> None:
    bad = '"><script>document.title="ran"</script>'
    rows = table(trials("all", 1, 0.9), trials("random", 0.5, 0.85), trials(bad, 0.5, 0.95, True))
    result = result_of(rows, f"mlp:vectors={bad}", f"note {bad}")
    assert result.apply == bad
    page = check_page(render(result))
    assert page.text.count("document.title") >= 5
    assert '"word": "better"' in result.as_json()
