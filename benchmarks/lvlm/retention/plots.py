"""The picture of the table: accuracy against the decoder's FLOPs and against the measured time of a whole prompt.

    python -m benchmarks.lvlm.retention.plots docs/images/lvlm_retention.png           out of the newest record
    python -m benchmarks.lvlm.retention.plots OUT.png --results lvlm_retention_small

A row of panels an axis, a column a kind of picture. Both axes are shares of what the unpruned prompt takes: times of
the one beside it in the same minutes, tower and all; FLOPs without the tower, which only a smaller picture and methods
inside the tower spare. Baselines are broken lines; of the others the `NAMED` that keep most over all kinds have a
colour, one inside the tower among them, and the rest are grey. Each method has its better policy of positions. Bands
are 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import RESULTS
from benchmarks.lvlm.retention.cases import BASELINES, FULL, inside_tower, name_of
from benchmarks.lvlm.retention.table import Row
from prunekernels.extras import require
from prunekernels.io.outputs import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 5
AXES = {"FLOPs of the decoder, %": "flops", "time of a prompt, tower and choosing included, %": "time"}


def main() -> None:
    """Draw a record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--results", default="lvlm_retention", help="the name of the record")
    options = parser.parse_args()
    runs = json.loads((RESULTS / f"{options.results}.json").read_text("utf-8"))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    print(draw([Row(**row) for row in runs[-1]["rows"]], options.output))


def draw(rows: Sequence[Row], path: Path) -> Path:
    """Draw `rows` at equal tokens into the PNG `path`, whatever stood there."""
    require("matplotlib", "tokens").use("Agg")
    pyplot = require("matplotlib.pyplot", "tokens")
    kinds = list(dict.fromkeys(row.pictures for row in rows))
    named = best(rows)
    size = (5 * len(kinds) + 2, 4 * len(AXES))
    figure, panels = pyplot.subplots(len(AXES), len(kinds), figsize=size, squeeze=False, sharey="col")
    for (label, axis), own in zip(AXES.items(), panels, strict=True):
        for kind, panel in zip(kinds, own, strict=True):
            _panel(panel, [row for row in rows if row.pictures == kind], axis, named)
            panel.set_xlabel(label)
            panel.set_xlim(0, 125)
            panel.set_title(f"{kind} pictures")
        own[0].set_ylabel("right answers, %")
    figure.legend(*panels[0][0].get_legend_handles_labels(), fontsize=9, loc="center right")
    figure.tight_layout(rect=(0, 0, 1 - 2 / size[0], 1))
    with atomic_file(path, replaces=True) as temporary:
        figure.savefig(temporary, dpi=90, format="png")
    pyplot.close(figure)
    return path


def best(rows: Sequence[Row]) -> list[str]:
    """The methods, none of them a baseline, that keep most in the mean of all kinds and shares; one inside the tower is
    among them, where there is one."""
    kept: dict[str, list[float]] = defaultdict(list)
    for kind in dict.fromkeys(row.pictures for row in rows):
        for method, own in lines([row for row in rows if row.pictures == kind]).items():
            kept[method] += [row.retention or 0 for row in own]
    means = {method: sum(own) / len(own) for method, own in kept.items() if name_of(method) not in BASELINES}
    ordered = sorted(means, key=lambda method: (-means[method], method))
    in_tower = [method for method in ordered if method in inside_tower()][:1]
    return [*[method for method in ordered if method not in in_tower][: NAMED - len(in_tower)], *in_tower]


def lines(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of one kind by method, ascending in the share that stays: those of the policy that keeps more."""
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.method != FULL and row.budget == "tokens" and not row.refused:
            found[row.method][row.positions].append(row)
    better = {method: max(own.values(), key=_kept) for method, own in found.items()}
    return {method: sorted(own, key=lambda row: row.keep_ratio) for method, own in better.items()}


def _kept(rows: Sequence[Row]) -> tuple[int, float]:
    return len(rows), sum(row.retention or 0 for row in rows)


def _panel(panel: Axes, rows: Sequence[Row], axis: str, named: Sequence[str]) -> None:
    whole = next(row for row in rows if row.method == FULL)
    panel.axhline(100 * (whole.accuracy or 0), color="black", linewidth=0.8, label="all tokens")
    panel.axvline(100, color="black", linewidth=0.4)
    drawn = lines(rows)
    seen: list[str] = []
    for method in sorted(drawn, key=lambda method: (method in named, name_of(method) in BASELINES)):
        own, name = drawn[method], name_of(method)
        costs, shares = [_cost(row, whole, axis) for row in own], [100 * (row.accuracy or 0) for row in own]
        if method not in named and name not in BASELINES:
            panel.plot(costs, shares, color="lightgrey", linewidth=0.8)
            continue
        style, colour = "-", f"C{named.index(method)}" if method in named else f"C{NAMED + BASELINES.index(name)}"
        if method not in named:
            # a baseline at one layer and at another
            style = ":" if name in seen else "--"
            seen.append(name)
        panel.plot(costs, shares, style, color=colour, marker=".", label=method)
        low, high = ([100 * (getattr(row, name) or 0) for row in own] for name in ("accuracy_low", "accuracy_high"))
        panel.fill_between(costs, low, high, color=colour, alpha=0.08)


def _cost(row: Row, whole: Row, axis: str) -> float:
    own, of = (row.whole_ms, row.full_ms) if axis == "time" else (row.decoder_gflop, whole.decoder_gflop)
    return 100 * (own or 0) / (of or 1)


if __name__ == "__main__":
    main()
