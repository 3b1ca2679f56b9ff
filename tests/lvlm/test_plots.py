"""What the picture of the table shows, out of rows made by hand."""

from __future__ import annotations

import struct
from pathlib import Path

from benchmarks.lvlm.retention.plots import best, draw, lines
from benchmarks.lvlm.retention.table import Row


def row(method: str, keep_ratio: float, retention: float, positions: str = "keep", **more: object) -> Row:
    said = {"accuracy": 0.9 * retention, "accuracy_low": 0.8 * retention, "accuracy_high": retention}
    said |= {"tower_gflop": 2.0, "decoder_gflop": keep_ratio, "whole_ms": 10 * keep_ratio, "full_ms": 10.0} | more
    return Row("main", method, keep_ratio, positions, retention=retention, **said)  # type: ignore[arg-type]


ROWS = [
    row("full", 1, 1),
    row("random", 0.5, 0.8), row("random", 0.25, 0.6),
    row("divprune", 0.5, 0.9), row("divprune", 0.25, 0.7),
    row("divprune", 0.5, 0.95, "compact"), row("divprune", 0.25, 0.6, "compact"),
    row("divprune", 0.25, 0.99, "keep", budget="flops"),
    *(row(f"m{number}", 0.5, number / 10) for number in range(8)),
    row("random_inside:layer=1", 0.5, 0.99), row("tome", 0.5, 0.2), row("zero_tprune", 0.5, 0.1),
    row("holov", 0.25, 0, refused="has no maps of attention"),
]  # fmt: skip


def test_a_method_has_its_better_positions_and_what_was_refused_no_line() -> None:
    found = lines(ROWS)
    assert "full" not in found
    assert "holov" not in found
    assert [(one.keep_ratio, one.positions, one.budget) for one in found["divprune"]] == [
        (0.25, "keep", "tokens"),
        (0.5, "keep", "tokens"),
    ]


def test_those_that_keep_most_are_named_and_no_baseline() -> None:
    # the last is the best of those inside the tower
    assert best(ROWS) == ["divprune", "m7", "m6", "m5", "tome"]
    assert best([one for one in ROWS if one.method not in ("tome", "zero_tprune")])[-1] == "m4"


def test_the_picture_has_a_column_for_each_kind(tmp_path: Path) -> None:
    small = [Row(**{**vars(one), "pictures": "small"}) for one in ROWS]
    widths = [
        struct.unpack(">II", draw(own, tmp_path / "out.png").read_bytes()[16:24]) for own in (ROWS, [*ROWS, *small])
    ]
    assert widths == [(630, 720), (1080, 720)]
