"""Curves of quality against what is kept: lines with bands as inline SVG that stretches, words beside it in HTML.

Places along the axis go by the square root of the share, so that 5 and 10 % stand as far apart as 80 and 90 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from datapruner.evaluation.verdict import percent
from datapruner.output.report.html_words import name, number

# the drawing's own units: it is stretched to the width of the page
WIDTH, HEIGHT = 960, 300
# of the width that a letter of a label takes: labels that would touch the last are left out
LETTER = 0.015


@dataclass(frozen=True)
class Curve:
    """One line: `style` is whole, draw or own; points are share in (0, 1], mean, and the ends of the interval."""

    label: str
    style: str
    points: Sequence[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Frame:
    """What is drawn of both axes, the same for all curves that are compared."""

    least_share: float
    low: float
    high: float

    def x(self, share: float) -> float:
        """The place of a share, in units of the drawing."""
        left = max(0.0, math.sqrt(self.least_share) - 0.03)
        return WIDTH * (math.sqrt(share) - left) / (1 - left) * 0.985

    def y(self, quality: float) -> float:
        """The place of a quality from the top."""
        return HEIGHT * (1 - (quality - self.low) / (self.high - self.low))


def frame_of(curves: Sequence[Curve]) -> Frame:
    """Room for all of `curves`, intervals too, as far as they do not go beyond the qualities by more than these do."""
    means = [point[1] for curve in curves for point in curve.points]
    span = max(max(means) - min(means), 1e-9)
    low = max(min(point[2] for curve in curves for point in curve.points), min(means) - span)
    high = min(max(point[3] for curve in curves for point in curve.points), max(means) + span)
    room = 0.06 * max(high - low, 1e-9)
    return Frame(min(point[0] for curve in curves for point in curve.points), low - room, high + room)


def figure(title: str, curves: Sequence[Curve], frame: Frame) -> str:
    """One picture with its axes and what it shows."""
    shares = sorted({point[0] for curve in curves for point in curve.points})
    lines = "".join(_line(value, frame) for value in _ticks(frame))
    drawn = "".join(_drawn(curve, frame) for curve in curves)
    drawing = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{name(title)}"'
    words = "".join(
        f'<span style="top:{100 * frame.y(value) / HEIGHT:.1f}%">{number(value)}</span>' for value in _ticks(frame)
    )
    legend = "".join(f'<span class="{curve.style}"><i></i>{name(curve.label, 60)}</span>' for curve in curves)
    return f"""<figure><div class="curve"><div class="levels">{words}</div><svg {drawing}>{lines}{drawn}</svg></div>
<div class="shares">{_share_words(shares, frame)}</div>
<figcaption><div class="legend">{legend}</div></figcaption></figure>"""


def _drawn(curve: Curve, frame: Frame) -> str:
    points = sorted(curve.points)
    tips = "; ".join(
        f"{percent(at)}: {number(mean)}, {number(low)} to {number(high)}" for at, mean, low, high in points
    )
    if curve.style == "whole":
        # one point, which all others are held against
        share, mean, low, high = points[-1]
        points = [(frame.least_share, mean, low, high), (share, mean, low, high)]
    places = [_place(point, frame) for point in points]
    upper = "L".join(f"{x:.1f} {high:.1f}" for x, _, _, high in places)
    lower = "L".join(f"{x:.1f} {low:.1f}" for x, _, low, _ in reversed(places))
    line = "L".join(f"{x:.1f} {mean:.1f}" for x, mean, _, _ in places)
    dots = "" if curve.style == "whole" else "".join(f"M{x:.1f} {mean:.1f}h0" for x, mean, _, _ in places)
    # of one point alone the band is its interval
    bar = f"M{places[0][0]:.1f} {places[0][2]:.1f}V{places[0][3]:.1f}" if len(places) == 1 else ""
    return (
        f'<g class="{curve.style}"><title>{name(curve.label)}: {tips}</title><path class="band" d="M{upper}L{lower}z"/>'
        f'<path class="mean" d="M{line}{bar}"/><path class="dot" d="{dots}"/></g>'
    )


def _place(point: tuple[float, float, float, float], frame: Frame) -> tuple[float, float, float, float]:
    """A point in units of the drawing; what goes beyond the frame ends at it."""
    mean, low, high = (frame.y(min(max(value, frame.low), frame.high)) for value in point[1:])
    return frame.x(point[0]), mean, low, high


def _line(value: float, frame: Frame) -> str:
    y = frame.y(value)
    return f'<line class="level" x1="0" y1="{y:.1f}" x2="{WIDTH}" y2="{y:.1f}"/>'


def _ticks(frame: Frame) -> list[float]:
    """Three to six round numbers."""
    span = frame.high - frame.low
    step = 10 ** math.floor(math.log10(span / 2))
    step = next(step * factor for factor in (1, 2, 5, 10, 20) if span / (step * factor) <= 6)
    first = math.ceil(frame.low / step)
    return [round(number * step, 10) for number in range(first, math.floor(frame.high / step) + 1)]


def _share_words(shares: Sequence[float], frame: Frame) -> str:
    told, last = "", 2.0
    # from the right: all rows are always told
    for share in reversed(shares):
        place, text = frame.x(share) / WIDTH, percent(share)
        if last - place >= LETTER * len(text):
            told += f'<span style="left:{100 * place:.1f}%">{text}</span>'
            last = place
    return told
