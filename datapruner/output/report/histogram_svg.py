"""Pictures of a report: histograms as inline SVG that stretches, with its words in HTML, which does not."""

from __future__ import annotations

import numpy as np

from datapruner.output.report.html_words import name, number
from datapruner.output.report.statistics import Histogram

# the drawing's own units: it is stretched to the width of the page
WIDTH, HEIGHT = 960, 100
# of the height at least, so that a bar of one row beside one of a million is seen
LEAST = 2.0
# a bar this many times as high as the next is broken off, so that the others can be seen
LONE, BROKEN = 6, 2


def histogram(drawn: Histogram) -> str:
    """Kept rows below, dropped rows on top of them; dashed lines where one goes over into the other."""
    heights = np.sort(drawn.kept + drawn.dropped)
    most, next_to = int(heights[-1]), int(heights[-2])
    top = BROKEN * next_to if next_to and most > LONE * next_to else most
    step = WIDTH / len(drawn.kept)
    bars = "".join(_bar(drawn, index, step, top) for index in range(len(drawn.kept)))
    low, high = float(drawn.edges[0]), float(drawn.edges[-1])
    lines = "".join(_cut(WIDTH * min(max((cut - low) / (high - low), 0), 1)) for cut in drawn.cuts)
    label = f"Histogram of {drawn.name}, kept and dropped rows"
    under, over = ("≤ " if drawn.tails[0] else ""), ("≥ " if drawn.tails[1] else "")
    broken = "" if top == most else ", drawn shorter"
    drawing = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{name(label)}"'
    return f"""<figure><div class="plot"><span class="top">{most:,} rows{broken}</span>
<svg {drawing}>{bars}{lines}</svg></div>
<div class="axis"><span>{under}{number(low)}</span><span>{number((low + high) / 2)}</span>\
<span>{over}{number(high)}</span></div>
<figcaption>{_caption(drawn)}</figcaption></figure>"""


def _bar(drawn: Histogram, index: int, step: float, scale: int) -> str:
    kept, dropped = int(drawn.kept[index]), int(drawn.dropped[index])
    if not kept + dropped:
        return ""
    tip = f"{number(drawn.edges[index])} to {number(drawn.edges[index + 1])}: {kept:,} kept, {dropped:,} dropped"
    parts, top, whole = "", float(HEIGHT), max(scale, kept + dropped)
    for style, count in (("k", kept), ("d", dropped)):
        if count:
            # 0.88: the words in the corner stand free
            height = max(count / whole * HEIGHT * 0.88, LEAST)
            top -= height
            parts += f'<rect class="{style}" x="{index * step + 1:g}" y="{top:.2f}" width="{step - 2:g}" '
            parts += f'height="{height:.2f}"/>'
    if kept + dropped > scale:
        parts += f'<path class="break" d="M{index * step:g} 40l{step:g} -6v6l-{step:g} 6z"/>'
    return f"<g><title>{tip}</title>{parts}</g>"


def _cut(x: float) -> str:
    return f'<line class="cut" x1="{x:.1f}" y1="10" x2="{x:.1f}" y2="{HEIGHT}" vector-effect="non-scaling-stroke"/>'


def _caption(drawn: Histogram) -> str:
    kept, dropped = drawn.medians
    words = []
    if kept is not None:
        words.append(f"median kept {number(kept)}")
    if dropped is not None:
        words.append(f"median dropped {number(dropped)}")
    if drawn.cuts:
        words.append("cut at " + " and ".join(map(number, drawn.cuts)))
    return name(", ".join(words))
