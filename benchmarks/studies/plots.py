"""The picture of a study: how much better than a draw each way is at what it keeps, with its 95 % band.

    PYTHONPATH=.:kernels python -m benchmarks.studies.plots          draws all recorded studies anew

A panel a setting. The scale is linear within a hundredth and logarithmic beyond it, since selections win by hundredths
and lose by halves; the band is that of the paired difference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import RESULTS
from benchmarks.studies.study import StudyRow
from prunekernels.extras import require

BASELINES = ("stratified", "rs2", "distillation", "all")
LINEAR = 0.01


def draw(rows: Sequence[StudyRow], path: Path) -> Path:
    """Draw `rows` into the PNG `path`."""
    require("matplotlib", "tokens").use("Agg")
    pyplot = require("matplotlib.pyplot", "tokens")
    settings = list(dict.fromkeys(row.setting for row in rows))
    figure, panels = pyplot.subplots(1, len(settings), figsize=(5.5 * len(settings) + 2.5, 5), squeeze=False)
    ways = [way for way in dict.fromkeys(row.way for row in rows) if way != "random"]
    looks = {way: pyplot.get_cmap("tab20")(number % 20) for number, way in enumerate(ways)}
    for setting, panel in zip(settings, panels[0], strict=True):
        own = [row for row in rows if row.setting == setting]
        panel.axhline(0, color="black", linewidth=1)
        for way in ways:
            points = differences(own, way)
            shares = [100 * share for share, *_ in points]
            style = ":" if way in BASELINES else "-"
            panel.plot(shares, [mean for _, mean, _, _ in points], style, marker=".", label=way, color=looks[way])
            lows, highs = ([point[place] for point in points] for place in (2, 3))
            panel.fill_between(shares, lows, highs, color=looks[way], alpha=0.15)
        panel.set_xscale("log")
        panel.set_yscale("symlog", linthresh=LINEAR)
        panel.set_xlabel("kept, %")
        panel.set_title(setting)
        ticks = sorted({round(100 * row.keep_ratio, 1) for row in own if row.keep_ratio is not None})
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
    panels[0][0].set_ylabel("better than a draw of as much, by")
    panels[0][-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return path


def differences(rows: Sequence[StudyRow], way: str) -> list[tuple[float, float, float, float]]:
    """Share, difference from the draw of as much, and its ends, by share; of all rows at each budget."""
    draws = {row.keep_ratio: row.quality for row in rows if row.way == "random" and row.keep_ratio is not None}
    measured = next((row for row in rows if row.against_random), None)
    # less is better where a difference that is better is one of less
    sign = 1.0
    if measured is not None and measured.against_random is not None and measured.keep_ratio in draws:
        sign = 1.0 if (measured.quality - draws[measured.keep_ratio]) * measured.against_random > 0 else -1.0
    points = []
    for row in rows:
        if row.way == "all" == way:
            differences = [(ratio, sign * (row.quality - quality)) for ratio, quality in draws.items()]
            points += [(ratio, difference, difference, difference) for ratio, difference in differences]
        elif row.way == way and row.against_random is not None:
            low, high = row.random_low or 0.0, row.random_high or 0.0
            points.append((row.share, row.against_random, low, high))
        elif row.way == way and row.keep_ratio in draws:
            difference = sign * (row.quality - draws[row.keep_ratio])
            points.append((row.share, difference, difference, difference))
    return sorted(points)


def main() -> None:
    for path in sorted(RESULTS.glob("study_*.json")):
        rows = json.loads(path.read_text("utf-8"))[-1]["rows"]
        if rows and "setting" in rows[0]:
            print(draw([StudyRow(**row) for row in rows], path.with_suffix(".png")))


if __name__ == "__main__":
    main()
