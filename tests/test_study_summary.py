"""What the README says of the recorded studies: the best selection at each budget, and how many lose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import RESULTS
from benchmarks.studies.summary import newest, opening, summary


def row(
    way: str, ratio: float | None, quality: float, difference: float | None = None, word: str = ""
) -> dict[str, object]:
    ends = (None, None) if difference is None else (difference - 0.01, difference + 0.01)
    return {
        "setting": "noisy", "way": way, "keep_ratio": ratio, "quality": quality, "against_random": difference,
        "random_low": ends[0], "random_high": ends[1], "random_word": word,
    }  # fmt: skip


def test_the_best_is_by_the_difference_and_baselines_are_no_selections() -> None:
    rows = [
        row("all", None, 0.9), row("random", 0.5, 0.8), row("rs2", 0.5, 0.95),
        row("near copies", None, 0.99, 0.2, "better"),
        row("easy", 0.5, 0.82, 0.02, "better"), row("hard", 0.5, 0.3, -0.5, "worse"),
        row("middle", 0.5, 0.81, 0.01, "open"),
        row("random", 0.1, 0.7), row("easy", 0.1, 0.6, -0.1, "worse"),
    ]  # fmt: skip
    few, half = summary({"study_fashion_mnist": rows})
    assert (few.keep_ratio, few.best, few.ahead, few.level, few.behind) == (0.1, "easy", 0, 0, 1)
    assert (half.data, half.all_rows, half.random, half.best) == ("Fashion-MNIST, noisy", 0.9, 0.8, "easy")
    assert (half.ahead, half.level, half.behind) == (1, 1, 1)
    assert list(opening([few, half])) == [few, half]
    assert list(opening([few, replace(few, keep_ratio=0.05)])) == [few]


def test_less_bits_are_better_by_their_difference() -> None:
    rows = [row("all", None, 2.0), row("random", 0.5, 2.1), row("a", 0.5, 2.3, -0.2, "worse"), row("b", 0.5, 2.0, 0.1)]
    (only,) = summary({"study_text": rows})
    assert (only.best, only.quality, only.measure) == ("b", 2.0, "bits per byte")


def test_the_study_of_intents_has_names_of_its_own() -> None:
    def nlu(
        way: str, ratio: float, exact: float, lot: float | None = None, p: float | None = None
    ) -> dict[str, object]:
        ends = {"lot_low": lot and lot - 1, "lot_high": lot and lot + 1}
        return {
            "data": "Snips",
            "way": way,
            "keep_ratio": ratio,
            "exact": exact,
            "against_lot": lot,
            "lot_p": p,
            **ends,
        }

    rows = [
        nlu("all rows", 1.0, 0.6), nlu("by lot, once", 0.2, 0.5), nlu("by lot, anew", 0.2, 0.6, 0.1, 0.001),
        nlu("EL2N, once", 0.2, 0.1, -0.4, 0.001), nlu("EL2N, dynamic", 0.2, 0.55, 0.05, 0.2),
    ]  # fmt: skip
    (only,) = summary({"study_nlu": rows})
    assert (only.data, only.best, only.ahead, only.level, only.behind) == ("Snips", "EL2N, dynamic", 0, 1, 1)


def test_the_recorded_summary_is_that_of_the_recorded_studies(tmp_path: Path) -> None:
    """Not a study has been recorded anew since."""
    wanted = list(summary({name: run["rows"] for name, run in newest().items()}))
    for name, rows in (("study_summary", wanted), ("study_opening", opening(wanted))):
        (recorded,) = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        assert recorded["rows"] == [vars(item) for item in rows]
    assert newest(tmp_path) == {}
