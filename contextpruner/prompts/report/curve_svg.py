"""Held-out scores over tokens, as inline SVG that stretches, with its words in HTML, which does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from contextpruner.prompts.verdict import Interval
from prunekernels.io.escape import html_text
from prunekernels.io.line_svg import EVEN, SIZE, grid, line


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
        bars = "".join(
            f"M{across(point.tokens):.2f} {down(point.score.low):.2f}"
            f"L{across(point.tokens):.2f} {down(point.score.high):.2f}"
            for point in curve.points
        )
        way = "L".join(f"{across(point.tokens):.2f} {down(point.score.mean):.2f}" for point in curve.points)
        lines.append(line(curve.name, number, f"M{way}{bars}"))
    at_full = f"{down(full.score.mean):.2f}"
    mark = f'<line class="mark" x1="0" x2="{SIZE}" y1="{at_full}" y2="{at_full}" {EVEN}/>'
    drawing = (
        f'viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none" role="img" aria-label="Held-out score over tokens"'
    )
    return f"""<article><figure><p class="above">{html_text(shown[high])}</p>
<div class="plot"><svg {drawing}>{grid()}{mark}{"".join(lines)}</svg></div><p class="above">{html_text(shown[low])}</p>
<div class="axis"><span>0 tokens</span><span>{widest:,} tokens</span></div>
<figcaption>Held-out score over the tokens of the prompt, with 95 % intervals. The dashed line is the full prompt.
</figcaption></figure></article>"""
