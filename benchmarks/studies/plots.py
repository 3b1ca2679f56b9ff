"""The picture of a study: quality against what is kept, a line a way with its 95 % band, a panel a setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.studies.study import StudyRow
from prunekernels.extras import require


def draw(rows: Sequence[StudyRow], path: Path) -> Path:
    """Draw `rows` into the PNG `path`."""
    require("matplotlib", "tokens").use("Agg")
    pyplot = require("matplotlib.pyplot", "tokens")
    settings = list(dict.fromkeys(row.setting for row in rows))
    figure, panels = pyplot.subplots(1, len(settings), figsize=(7 * len(settings), 5), squeeze=False)
    for setting, panel in zip(settings, panels[0], strict=True):
        own = [row for row in rows if row.setting == setting]
        for way in dict.fromkeys(row.way for row in own):
            points = sorted((row for row in own if row.way == way), key=lambda row: row.share)
            shares = [100 * row.share for row in points]
            if way == "all":
                panel.axhline(points[0].quality, color="black", linestyle="--", label="all rows")
                continue
            is_draw = way in ("random", "stratified", "rs2", "distillation")
            style = ":" if is_draw and way != "random" else "-"
            (line,) = panel.plot(shares, [row.quality for row in points], style, marker=".", label=way)
            panel.fill_between(
                shares, [row.low for row in points], [row.high for row in points], color=line.get_color(), alpha=0.12
            )
        panel.set_xscale("log")
        panel.set_xlabel("kept, %")
        panel.set_title(setting)
        ticks = sorted({round(100 * row.share, 1) for row in own if row.keep_ratio is not None})
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
    panels[0][-1].legend(fontsize=7, ncol=2)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return path
