"""An evaluation from corpora to a verdict: what it trains, that it goes on, what it refuses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datapruner import Candidate, Evaluation, Rule, evaluate
from datapruner.evaluation.evaluate import n_trainings
from datapruner.evaluation.result import Result, Row
from datapruner.evaluation.settings import Seeds
from tests.datapruner.evaluation.conftest import blobs, candidates, source_of, without_seconds


class StopError(Exception):
    """Ends a run as Ctrl-C would."""


def stopping_at(number: int) -> Callable[[int, int, str], None]:
    def stop(at: int, total: int, name: str) -> None:
        if at == number:
            raise StopError

    return stop


def row(result: Result, way: str, ratio: float | None) -> Row:
    return next(item for item in result.rows if item.way == way and item.ratio == ratio)


def test_a_killed_run_goes_on_and_gives_the_same_table(small: Evaluation, tmp_path: Path) -> None:
    small = dataclasses.replace(small, seeds=Seeds(2))
    seen: list[tuple[int, int]] = []
    whole = evaluate(small, tmp_path / "whole", lambda number, total, name: seen.append((number, total)))
    assert [number for number, _ in seen] == [*range(1, len(seen) + 1)]
    # all rows, and at two ratios four draws and two selections, of two seeds each
    assert len(seen) == seen[0][1] == n_trainings(small) == 2 * (1 + 2 * (4 + 2))
    for number in (1, 9, 20):
        with pytest.raises(StopError):
            evaluate(small, tmp_path / "parts", stopping_at(number))
        there = len([*(tmp_path / "parts" / "cells").glob("*.json")]) if number > 1 else 0
        assert there == number - 1
        assert not (tmp_path / "parts" / "result.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts" / "cells").iterdir()}
    parts = evaluate(small, tmp_path / "parts")
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    one, two = (json.loads((tmp_path / name / "result.json").read_text("utf-8")) for name in ("whole", "parts"))
    assert without_seconds(one) == without_seconds(two)
    assert [item.qualities for item in whole.rows] == [item.qualities for item in parts.rows]
    # done, it trains nothing, and one more selection trains that alone
    before = sorted((tmp_path / "parts" / "cells").iterdir())
    assert evaluate(small, tmp_path / "parts").as_json() == parts.as_json()
    more = dataclasses.replace(small, candidates=(*small.candidates, *candidates("bottom")))
    assert row(evaluate(more, tmp_path / "parts"), "top", 0.2).qualities == row(whole, "top", 0.2).qualities
    assert len([*(tmp_path / "parts" / "cells").iterdir()]) == len(before) + 2 * 2


def test_the_table_says_what_was_trained(small: Evaluation, tmp_path: Path) -> None:
    result = evaluate(small, tmp_path / "out")
    assert (result.n_rows, result.n_test_rows, result.n_shared, result.quality) == (120, 90, 0, "accuracy")
    ways = [(item.way, item.ratio) for item in result.rows]
    draws = ["random", "stratified", "rs2", "distillation", "top", "calibrated"]
    assert ways == [("all", None), *((way, ratio) for ratio in (0.2, 0.5) for way in draws)]
    for item in result.rows:
        assert len(item.qualities) == 3
        assert item.mean == pytest.approx(np.mean(item.qualities))
        assert item.low <= item.mean <= item.high
        # as many as asked, and all for those that see all in turn
        wanted = 120 if item.way in ("all", "rs2") else 120 * (item.ratio or 1)
        assert item.rows == wanted
        assert item.share == pytest.approx(item.ratio or 1)
    top, draw, whole = row(result, "top", 0.2), row(result, "random", 0.2), row(result, "all", None)
    by = {item.baseline: item.difference for item in top.against}
    assert [*by] == ["all", "random", "stratified", "rs2", "distillation"]
    assert by["random"].mean == pytest.approx(top.mean - draw.mean)
    assert by["all"].mean == pytest.approx(top.mean - whole.mean)
    # draws are held against all rows alone
    assert [item.baseline for item in draw.against] == ["all"]
    assert top.overlap_by_chance == pytest.approx(0.2)
    assert top.overlap is not None
    assert [drift.kind for drift in top.drift] == ["label", "group"]
    # scores, teachers and nothing at all come before
    assert top.cost.before > row(result, "distillation", 0.2).cost.before > draw.cost.before == 0
    assert "Scored once" in result.notes[0]


def test_pairs_have_equal_seeds_and_replicates_their_own_draws(small: Evaluation, tmp_path: Path) -> None:
    """Random rows as a candidate: other rows than the draw's, and another draw for each training."""
    settings = dataclasses.replace(
        small, candidates=(Candidate("lot", (Rule("random"),)),), scorers=(), baselines=(), keep_ratios=(0.5,)
    )
    result = evaluate(settings, tmp_path / "out")
    cells = [json.loads(path.read_text("utf-8"))["cell"] for path in (tmp_path / "out" / "cells").iterdir()]
    seeds: dict[str, set[int]] = {}
    for cell in cells:
        seeds.setdefault(cell["rows"], set()).add(cell["seed"])
    # all rows thrice, three draws of the baseline and three of the candidate
    assert sorted(map(len, seeds.values())) == [1, 1, 1, 1, 1, 1, 3]
    lot = row(result, "lot", 0.5)
    assert 0.3 < (lot.overlap or 0) < 0.7
    once = dataclasses.replace(settings, seeds=Seeds(3, selection=1))
    result = evaluate(once, tmp_path / "once")
    assert any("Drawn once" in note for note in result.notes)
    cells = [json.loads(path.read_text("utf-8"))["cell"] for path in (tmp_path / "once" / "cells").iterdir()]
    assert len({cell["rows"] for cell in cells}) == 3


def test_scored_anew_for_each_training(small: Evaluation, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        small, seeds=Seeds(2, scoring=2), baselines=(), keep_ratios=(0.2,), candidates=candidates("top", by="r"),
        scorers=("r=random",),
    )  # fmt: skip
    result = evaluate(settings, tmp_path / "out")
    assert not any("Scored once" in note for note in result.notes)
    cells = [json.loads(path.read_text("utf-8"))["cell"] for path in (tmp_path / "out" / "cells").iterdir()]
    # all rows, two draws, and two times other rows of the highest scores
    assert len({cell["rows"] for cell in cells}) == 1 + 2 + 2
    assert {path.name for path in (tmp_path / "out").glob("scores-*")} == {"scores-0", "scores-1"}


def test_a_rule_that_decides_itself_is_held_against_draws_of_its_size(small: Evaluation, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        small,
        candidates=(
            Candidate("surely right", (Rule("threshold:minimum=0.3", "r"),)),
            Candidate("then the highest", (Rule("threshold:minimum=0.3", "r"), Rule("top", "r"))),
        ),
        scorers=("r=random:seed=3",),
        baselines=("rs2",),
        keep_ratios=(0.5, 0.9),
    )
    result = evaluate(settings, tmp_path / "out")
    own = row(result, "surely right", None)
    draws = [item for item in result.rows if item.way == "random" and item.ratio is None]
    assert [item.rows for item in draws] == [own.rows]
    assert 0.55 < own.share < 0.85
    assert own.against[1].difference.mean == pytest.approx(own.mean - draws[0].mean)
    # a ratio is of all rows, as that of the draw is, as far as the steps before it leave so many
    assert row(result, "then the highest", 0.5).rows == row(result, "random", 0.5).rows == 60
    assert row(result, "then the highest", 0.9).rows == own.rows < row(result, "random", 0.9).rows == 108


def test_tokens_are_spent_alike(small: Evaluation, tmp_path: Path) -> None:
    rows = blobs(60, 1) | {"text": ["w " * (1 + i % 7) for i in range(60)]}
    source = dataclasses.replace(source_of(rows), text="text")
    test = dataclasses.replace(source_of(blobs(30, 2) | {"text": ["v"] * 30}), text="text")
    # the first step leaves two thirds of the tokens
    two_steps = Candidate("two steps", (Rule("threshold:minimum=9", "length"), Rule("random")))
    settings = dataclasses.replace(
        small, source=source, test=test, budget="tokens", keep_ratios=(0.3,), baselines=("stratified", "rs2"),
        candidates=(*candidates("top", by="length"), two_steps), scorers=("length",), seeds=Seeds(2),
    )  # fmt: skip
    result = evaluate(settings, tmp_path / "out")
    for item in result.rows[1:]:
        assert 0.24 < item.share <= 0.3 + 1e-9, item.way
    # the longest texts: fewer rows for as many tokens
    assert row(result, "top", 0.3).rows < row(result, "random", 0.3).rows


def test_what_cannot_be_is_left_out_and_said(small: Evaluation, tmp_path: Path) -> None:
    texts = {"id": [str(i) for i in range(12)], "text": ["a text of some bytes " * 3] * 12}
    from datapruner import Source

    source = Source(texts, uid="id")
    settings = dataclasses.replace(
        small, source=source, test=Source({"id": ["x"], "text": ["a text of some bytes"]}, uid="id"),
        proxy="language_model:width=8,layers=1,window=16,batch_size=2,device=cpu", scorers=("length",),
        candidates=candidates("top", by="length"), seeds=Seeds(2), keep_ratios=(0.5,), steps=4, checks=1,
    )  # fmt: skip
    result = evaluate(settings, tmp_path / "out")
    assert result.quality == "bits per byte"
    assert not result.higher_is_better
    assert {item.way for item in result.rows} == {"all", "random", "rs2", "top"}
    said = " ".join(result.notes)
    assert "stratified is left out" in said
    assert "distillation is left out" in said
    # fewer bits are better
    top, draw = row(result, "top", 0.5), row(result, "random", 0.5)
    by = {item.baseline: item.difference.mean for item in top.against}
    assert by["random"] == pytest.approx(draw.mean - top.mean)


def test_held_out_rows_that_are_none_are_told(small: Evaluation, tmp_path: Path) -> None:
    rows = blobs(120, 1)
    some = {name: values[:30] for name, values in rows.items()}  # type: ignore[index]
    settings = dataclasses.replace(small, test=source_of(some), baselines=(), keep_ratios=(0.5,))
    result = evaluate(settings, tmp_path / "out")
    assert result.n_shared == 30
    assert "30 of 30 held-out rows" in result.notes[0]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"candidates": ()}, "want candidates"),
        ({"candidates": (Candidate("random", (Rule("top", "el2n"),)),)}, "a name of its own"),
        ({"candidates": (Candidate("x", (Rule("top", "el2n", 0.5),)),)}, "said by keep_ratios"),
        ({"candidates": (Candidate("x", (Rule("topp", "el2n"),)),)}, "has no 'topp'"),
        ({"keep_ratios": (0.0,)}, "keep_ratio"),
        ({"keep_ratios": (0.5, 0.5)}, "each once"),
        ({"baselines": ("luck",)}, "want baselines among"),
        ({"steps": 0}, "steps and checks of at least 1"),
        ({"checks": 0}, "steps and checks of at least 1"),
        ({"margin": -1.0}, "margin"),
        ({"budget": "words"}, "rows or tokens"),
    ],
)
def test_settings_that_cannot_work_are_refused(small: Evaluation, changes: dict[str, object], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        dataclasses.replace(small, **changes)  # type: ignore[arg-type]


def test_seeds_that_do_not_pair_are_refused() -> None:
    for given in ({"training": 1}, {"training": 5, "selection": 2}, {"training": 5, "scoring": 4}):
        with pytest.raises(ValueError, match="want"):
            Seeds(**given)


def test_refuses_what_it_cannot_read_or_write(small: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no evaluation and not empty"):
        evaluate(small, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="want by=<column>"):
        evaluate(dataclasses.replace(small, candidates=candidates("top", by="nothing")), tmp_path / "out")
    unlabelled = dataclasses.replace(small.test, label=None)
    with pytest.raises(ValueError, match="name the field of test"):
        evaluate(dataclasses.replace(small, test=unlabelled), tmp_path / "out")
    other = source_of({**blobs(9, 3), "label": ["unheard of"] * 9})
    with pytest.raises(ValueError, match="has the label 'unheard of'"):
        evaluate(dataclasses.replace(small, test=other), tmp_path / "out2")


def test_a_cell_that_somebody_changed_is_refused(small: Evaluation, tmp_path: Path) -> None:
    small = dataclasses.replace(small, baselines=(), keep_ratios=(0.5,))
    evaluate(small, tmp_path / "out")
    one, two = sorted((tmp_path / "out" / "cells").iterdir())[:2]
    one.write_bytes(two.read_bytes())
    with pytest.raises(ValueError, match="got that of another"):
        evaluate(small, tmp_path / "out")
