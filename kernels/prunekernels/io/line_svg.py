"""What line drawings of our pages share: eight lines that are told apart, a grid, and the legend.

A drawing is an inline SVG of `SIZE` units each way that stretches; its words are HTML, which does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from prunekernels.io.escape import html_text, one_line

# the drawing's own units, of which 100 are all of what there is
SIZE = 100
GRID = (25, 50, 75)
# lines that are told apart: after these they begin again
STYLES = 8
# a line is as wide as it says, however the drawing is stretched
EVEN = 'vector-effect="non-scaling-stroke"'
STYLE = """
:root { --l0: #0072b2; --l1: #d55e00; --l2: #6b665d; --l3: #009e73; --l4: #a63d83; --l5: #8a6d00; --l6: #0f8fb5;
  --l7: #1c1b19; }
@media (prefers-color-scheme: dark) { :root { --l0: #5eb3ef; --l1: #ff8f4a; --l2: #a8a49a; --l3: #2ecb9b;
  --l4: #e68cc7; --l5: #e0c04a; --l6: #7fd8f2; --l7: #eceae4; } }
figure svg { height: 13rem; } svg path { fill: none; stroke-width: 2; }
.l0 { stroke: var(--l0); } .l1 { stroke: var(--l1); stroke-dasharray: 9 3; }
.l2 { stroke: var(--l2); stroke-dasharray: 2 3; } .l3 { stroke: var(--l3); stroke-dasharray: 10 3 2 3; }
.l4 { stroke: var(--l4); stroke-dasharray: 5 3; } .l5 { stroke: var(--l5); stroke-dasharray: 14 4; }
.l6 { stroke: var(--l6); stroke-dasharray: 3 2 1 2; } .l7 { stroke: var(--l7); stroke-dasharray: 1 2; }
.grid { stroke: var(--line); stroke-width: 1; } .mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; }
.above { color: var(--soft); font-size: .78rem; margin: 0 0 .2rem; } .axis { position: relative; }
.key { width: 2rem; height: .7rem; margin-right: .45rem; flex: none; }
.legend span { display: inline-flex; align-items: center; overflow-wrap: anywhere; }
"""


def grid() -> str:
    """Lines across at `GRID`."""
    return "".join(f'<line class="grid" x1="0" x2="{SIZE}" y1="{at}" y2="{at}" {EVEN}/>' for at in GRID)


def line(name: str, number: int, path: str) -> str:
    """The path of line `number`, which tells its name."""
    title = html_text(one_line(name, 120))
    return f'<g><title>{title}</title><path class="l{number % STYLES}" d="{path}" {EVEN}/></g>'


def legend(names: Sequence[str]) -> str:
    """Which line is whose."""
    items = "".join(
        f'<span><svg class="key" viewBox="0 0 30 10" aria-hidden="true"><path class="l{number % STYLES}" '
        f'd="M0 5L30 5"/></svg>{html_text(one_line(name, 120))}</span>'
        for number, name in enumerate(names)
    )
    return f'<div class="legend">{items}</div>'
