"""Held-out scores over tokens, as inline SVG that stretches, with its words in HTML, which does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from contextpruner.prompts.verdict import Interval
from prunekernels.io.escape import html_text, one_line

# the drawing's own units, of which 100 are all of what there is
SIZE = 100
GRID = (25, 50, 75)
# lines that are told apart: after these they begin again
STYLES = 8
EVEN = 'vector-effect="non-scaling-stroke"'


class Point(NamedTuple):
    """A prompt of so many tokens and what it came to."""

    tokens: int
    score: Interval


class Curve(NamedTuple):
    """The prompts of one way, shortest first."""

    name: str
    points: Sequence[Point]


def figure(curves: Sequence[Curve], full: Point, shown: Mapping[float, str]) -> str:
    """The curves, with bars for their intervals, and a line at the score of the full prompt.

    `shown` has the lowest and the highest score that is drawn, and how each is written.
    """
    low, high = min(shown), max(shown)
    widest = max([full.tokens, *(point.tokens for curve in curves for point in curve.points)])

    def across(tokens: int) -> float:
        return SIZE * tokens / max(widest, 1)

    def down(score: float) -> float:
        return SIZE * (1 - (score - low) / (high - low)) if high > low else SIZE / 2

    lines = []
    for number, curve in enumerate(curves):
        style = f'class="l{number % STYLES}"'
        bars = "".join(
            f"M{across(point.tokens):.2f} {down(point.score.low):.2f}"
            f"L{across(point.tokens):.2f} {down(point.score.high):.2f}"
            for point in curve.points
        )
        way = "L".join(f"{across(point.tokens):.2f} {down(point.score.mean):.2f}" for point in curve.points)
        name = html_text(one_line(curve.name, 120))
        lines.append(f'<g><title>{name}</title><path {style} d="M{way}{bars}" {EVEN}/></g>')
    grid = "".join(f'<line class="grid" x1="0" x2="{SIZE}" y1="{at}" y2="{at}" {EVEN}/>' for at in GRID)
    at_full = f"{down(full.score.mean):.2f}"
    mark = f'<line class="mark" x1="0" x2="{SIZE}" y1="{at_full}" y2="{at_full}" {EVEN}/>'
    label = 'role="img" aria-label="Held-out score over tokens"'
    return f"""<article><figure><p class="above">{html_text(shown[high])}</p>
<div class="plot"><svg viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none" {label}>{grid}{mark}{"".join(lines)}</svg>
</div><p class="above">{html_text(shown[low])}</p>
<div class="axis"><span>0 tokens</span><span>{widest:,} tokens</span></div>
<figcaption>Held-out score over the tokens of the prompt, with 95 % intervals. The dashed line is the full prompt.
</figcaption></figure></article>"""


def legend(names: Sequence[str]) -> str:
    """Which line is whose."""
    items = "".join(
        f'<span><svg class="key" viewBox="0 0 30 10" aria-hidden="true"><path class="l{number % STYLES}" '
        f'd="M0 5L30 5"/></svg>{html_text(one_line(name, 120))}</span>'
        for number, name in enumerate(names)
    )
    return f'<div class="legend">{items}</div>'
