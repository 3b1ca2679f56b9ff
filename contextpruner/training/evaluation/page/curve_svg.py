"""Curves as inline SVG that stretches, one line a labeler, with their words in HTML, which does not."""

from __future__ import annotations

from collections.abc import Sequence

from contextpruner.training.evaluation.evaluation import CurvePoints
from contextpruner.training.evaluation.report import REMOVED
from prunekernels.io.escape import html_text, one_line
from prunekernels.io.line_svg import EVEN, SIZE, grid, line


def panel(title: str, note: str, curves: Sequence[CurvePoints], places: Sequence[int]) -> str:
    """A figure of the `curves` of one set; line i is drawn in the style of labeler `places[i]`."""
    lines = "".join(_line(points, place) for points, place in zip(curves, places, strict=True))
    mark = f'<line class="mark" x1="{SIZE * REMOVED:g}" x2="{SIZE * REMOVED:g}" y1="0" y2="{SIZE}" {EVEN}/>'
    label = f"Recall of gold over removed characters: {one_line(title, 80)}"
    drawing = f'viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none" role="img" aria-label="{html_text(label)}"'
    return f"""<article><h3>{html_text(one_line(title, 80))}</h3><figure>
<p class="above">recall, up to 100 %</p>
<div class="plot"><svg {drawing}>{grid()}{mark}{lines}</svg></div>
<div class="axis"><span>nothing removed</span><span class="at">{SIZE * REMOVED:g} %</span><span>all</span></div>
<figcaption>{html_text(note)}</figcaption></figure></article>"""


def _line(points: CurvePoints, place: int) -> str:
    """From everything removed, where recall is 0, along the curve."""
    pairs = [(1.0, 0.0), *zip(points.removed, points.recall, strict=True)]
    way = "L".join(f"{SIZE * removed:.2f} {SIZE * (1 - recall):.2f}" for removed, recall in pairs)
    return line(points.labeler, place, f"M{way}")
