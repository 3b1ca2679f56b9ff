"""The page of an evaluation: one HTML file with everything in it, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from datapruner.evaluation.curve_svg import Curve, figure, frame_of
from datapruner.evaluation.result import Against, Drift, Result, Row
from datapruner.evaluation.settings import ALL, RANDOM
from datapruner.evaluation.verdict import percent
from datapruner.output.report.html_words import name, number, share
from datapruner.output.report.stylesheet import STYLE
from prunekernels.io.html_page import html_page

# what is told of each kind: of the others their number
MOST_CURVES, MOST_MIXES = 40, 60

OWN_STYLE = """
:root { --own: #1d6fb8; --draw: #8a8272; --all: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --own: #6cb4f2; --draw: #a39b8b; --all: #ff8a80; } }
.verdict { background: var(--card); border: 1px solid var(--line); border-left: .4rem solid var(--own);
  border-radius: .5rem; padding: .8rem 1.1rem; margin: 0 0 1rem; font-size: 1.08rem; overflow-wrap: anywhere; }
.curve { position: relative; margin-left: 3.2rem; border-bottom: 1px solid var(--soft); }
.curve svg { height: 13rem; } .levels span, .shares span { position: absolute; color: var(--soft); font-size: .78rem;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.levels span { right: calc(100% + .45rem); transform: translateY(-50%); }
.shares { position: relative; height: 1.5rem; margin-left: 3.2rem; } .shares span { transform: translateX(-50%); }
.level { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
svg .band { opacity: .16; stroke: none; } svg .mean { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
svg .dot { fill: none; stroke-width: 7; stroke-linecap: round; vector-effect: non-scaling-stroke; }
.own .band { fill: var(--own); } .own .mean, .own .dot { stroke: var(--own); }
.draw .band { fill: var(--draw); } .draw .mean, .draw .dot { stroke: var(--draw); }
.whole .band { fill: var(--all); } .whole .mean { stroke: var(--all); stroke-dasharray: 6 4; }
.legend .own i { background: var(--own); } .legend .draw i { background: var(--draw); }
.legend .whole i { background: var(--all); } figcaption .legend { margin: .2rem 0 0; }
td.compared { white-space: nowrap; } td.compared small { display: block; min-width: 0; font-size: .78em; }
.word { font-weight: 600; } .better { color: var(--kept); } .worse { color: var(--cut); }
tr.draw td { color: var(--soft); } h3 { margin: 1.3rem 0 .4rem; } .charts h3 { margin: 0; }
"""


def render(result: Result) -> str:
    """The page about `result`."""
    title = "Keep everything" if result.apply is None else f"Apply {result.apply}"
    parts = [
        f'<p class="verdict">{name(result.verdict, 1000)}</p>',
        _cards(result),
        _notes(result.notes),
        _curves(result),
        _tables(result),
        _costs(result),
        _mixes(result),
        _how(result),
    ]
    head = f'<header><p class="tag">datapruner evaluate</p>\n<h1>{name(title)}</h1></header>'
    body = "\n".join([head, "<main>", *filter(None, parts), "</main>"])
    return html_page(f"{title} - datapruner evaluate", STYLE + OWN_STYLE, body)


def _cards(result: Result) -> str:
    whole = next(row for row in result.rows if row.way == ALL)
    direction = "higher is better" if result.higher_is_better else "lower is better"
    cards = [
        (f"{name(result.quality)} of all rows", f"{whole.mean:.4f}", f"{_span(whole.low, whole.high)}, {direction}"),
        ("rows", f"{result.n_rows:,}", f"judged on {result.n_test_rows:,} others"),
        ("trainings of each kind", f"{result.seeds['training']:,}", f"of {result.steps:,} steps each"),
        ("margin", f"{result.margin:g}", "less is next to nothing"),
    ]
    cells = "".join(
        f'<div class="card"><dt>{head}</dt><dd class="big">{big}</dd><dd class="soft">{note}</dd></div>'
        for head, big, note in cards
    )
    return f'<dl class="cards">{cells}</dl>'


def _notes(notes: Sequence[str]) -> str:
    told = "".join(f"<p>{name(text, 1000)}</p>" for text in notes)
    return f'<div class="warn" role="note">{told}</div>' if told else ""


def _curves(result: Result) -> str:
    ways = list(dict.fromkeys(row.way for row in result.rows if row.way not in (ALL, RANDOM)))
    base = [Curve("all rows", "whole", _points(result, ALL)), Curve("random draw", "draw", _points(result, RANDOM))]
    own = [Curve(way, "own", _points(result, way)) for way in ways]
    frame = frame_of([*base, *own])
    figures = "".join(
        f"<article><h3>{name(curve.label, 120)}</h3>{figure(curve.label, [*base, curve], frame)}</article>"
        for curve in own[:MOST_CURVES]
    )
    more = f'<p class="soft">and {len(own) - MOST_CURVES:,} more</p>' if len(own) > MOST_CURVES else ""
    return f"""<h2>{name(result.quality).capitalize()} against what is kept</h2>
<p class="soft">Means over the trainings; bands are 95 % intervals of the mean.</p>
<div class="charts">{figures}</div>{more}"""


def _points(result: Result, way: str) -> list[tuple[float, float, float, float]]:
    return [(row.share, row.mean, row.low, row.high) for row in result.rows if row.way == way]


def _tables(result: Result) -> str:
    baselines = list(dict.fromkeys(item.baseline for row in result.rows for item in row.against))
    heads = "".join(f"<th>against<br>{name(_told(item))}</th>" for item in baselines)
    parts = []
    for title, rows in _by_budget(result):
        body = "".join(_row(row, baselines) for row in rows)
        parts.append(
            f'<h3>{title}</h3><div class="wide"><table><thead><tr><th>rows by</th><th>{name(result.quality)}</th>'
            f"{heads}</tr></thead><tbody>{body}</tbody></table></div>"
        )
    return f"""<h2>Differences</h2>
<p class="soft">Pairs with the same seed of training; better is positive. Mean, 95 % interval, and p after Holm's
correction over all selections and budgets. &quot;not worse&quot;: not by the margin of {result.margin:g} or more.</p>
{"".join(parts)}"""


def _by_budget(result: Result) -> list[tuple[str, list[Row]]]:
    """The rows of each budget under what it is called; those of rules that decide themselves under these."""
    found: dict[str, list[Row]] = {}
    waiting: list[Row] = []
    for row in result.rows:
        if row.way == ALL:
            continue
        if row.ratio is not None:
            found.setdefault(f"{percent(row.ratio)} of the {name(result.budget)} kept", []).append(row)
        else:
            # the draws of a rule stand before it
            waiting.append(row)
            if row.is_candidate:
                found[f"{name(row.way, 120)} keeps {percent(row.share)}"] = waiting
                waiting = []
    return [*found.items()]


def _row(row: Row, baselines: Sequence[str]) -> str:
    by = {item.baseline: item for item in row.against}
    cells = "".join(_compared(by.get(item)) for item in baselines)
    style = "" if row.is_candidate else ' class="draw"'
    return (
        f'<tr{style}><td class="name">{name(_told(row.way), 120)}</td><td class="compared">{row.mean:.4f}'
        f"<small>{_span(row.low, row.high)}</small></td>{cells}</tr>"
    )


def _compared(against: Against | None) -> str:
    if against is None:
        return "<td></td>"
    found, word = against.difference, against.word
    style = word if word in ("better", "worse") else "open"
    return (
        f'<td class="compared">{found.mean:+.4f} <span class="word {style}">{word}</span>'
        f"<small>{found.low:+.4f} to {found.high:+.4f}</small><small>p {_p(against.p_holm)}</small></td>"
    )


def _costs(result: Result) -> str:
    body = "".join(
        f'<tr><td class="name">{name(_told(row.way), 120)}</td><td class="n">{percent(row.share)}</td>'
        f'<td class="n">{_seconds(row.cost.before)}</td><td class="n">{_seconds(row.cost.training)}</td>'
        f'<td class="n">{_reached(row, result)}</td></tr>'
        for row in result.rows
    )
    return f"""<h2>Time to {number(result.target)}</h2>
<p class="soft">That is the {name(result.quality)} of all rows, less the margin. Scores, and the trainings that they
or a teacher need, count; choosing takes next to nothing. Measured on this machine, whatever else ran on it.</p>
<div class="wide"><table><thead><tr><th>rows by</th><th class="n">kept</th><th class="n">before</th>
<th class="n">training</th><th class="n">to the target</th></tr></thead><tbody>{body}</tbody></table></div>"""


def _reached(row: Row, result: Result) -> str:
    if row.cost.seconds_to_target is None or row.cost.steps_to_target is None:
        return f"{row.cost.reached} of {len(row.qualities)} reached it"
    return f"{_seconds(row.cost.seconds_to_target)} <small>{row.cost.steps_to_target:,.0f} steps</small>"


def _mixes(result: Result) -> str:
    rows = [row for row in result.rows if row.is_candidate]
    kinds = list(dict.fromkeys(drift.kind for row in rows for drift in row.drift))
    heads = "".join(f'<th class="n">{name(kind)} mix moved</th>' for kind in kinds)
    body = "".join(
        f'<tr><td class="name">{name(row.way, 120)}</td><td class="n">{percent(row.share)}</td>'
        f'<td class="n">{_of(row.overlap)}</td><td class="n">{_of(row.overlap_by_chance)}</td>'
        + "".join(f'<td class="n">{100 * drift.moved:.1f} %</td>' for drift in row.drift)
        + "</tr>"
        for row in rows
    )
    details = "".join(_mix(row, drift) for row in rows[:MOST_MIXES] for drift in row.drift)
    more = f"<details><summary>Shares of each class or source</summary>{details}</details>" if details else ""
    return f"""<h2>What is kept</h2>
<p class="soft">How many of the kept rows a random draw of the same size holds, too, and how many it would by chance;
and how much of the mix moved from one class or source to another.</p>
<div class="wide"><table><thead><tr><th>rows by</th><th class="n">kept</th><th class="n">in a draw, too</th>
<th class="n">by chance</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>{more}"""


def _mix(row: Row, drift: Drift) -> str:
    body = "".join(
        f'<tr><td class="name" dir="auto">{name(item.name, 120)}</td><td class="n">{share(item.whole, 1)}</td>'
        f'<td class="n">{share(item.kept, 1)}</td></tr>'
        for item in drift.shares
    )
    return (
        f"<h3>{name(row.way, 120)}, {percent(row.share)}: {name(drift.kind)}</h3>"
        f'<div class="wide"><table><thead><tr><th>{name(drift.kind)}</th><th class="n">of all rows</th>'
        f'<th class="n">of the kept</th></tr></thead><tbody>{body}</tbody></table></div>'
    )


def _how(result: Result) -> str:
    seeds = ", ".join(f"{name(key)} {value:,}" for key, value in result.seeds.items())
    return f"""<h2>How it was compared</h2>
<p>Every training of <code>{name(result.proxy, 400)}</code> takes {result.steps:,} optimizer steps of the same size,
whatever is kept. Trainings are paired by their seed; seeds: {seeds}. Intervals are Student's t over the pairs: of few
seeds a bootstrap would be too narrow. A selection is applied where it beats a random draw and is not worse than all
rows by the margin, both at 5 % and corrected by Holm over all selections and budgets.</p>"""


def _told(way: str) -> str:
    return {ALL: "all rows", RANDOM: "random draw"}.get(way, way)


def _span(low: float, high: float) -> str:
    return f"{low:.4f} to {high:.4f}"


def _p(value: float) -> str:
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:,.0f} s"


def _of(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
