"""The page of a tuning: verdicts, the curve of score against tokens, and each pruned prompt with what was dropped."""

from __future__ import annotations

import math

from contextpruner.prompts.report.curve_svg import Curve, Point, figure
from contextpruner.prompts.report.result import Piece, TunedPrompt, TuneResult
from contextpruner.prompts.verdict import Interval, Scores
from prunekernels.io import line_svg
from prunekernels.io.escape import html_text, one_line, printable
from prunekernels.io.html_page import html_page

BY_LOT = "random dropping at equal length"
STYLE = """
:root { --kept: #1d7a4f; --gone: #6b665d; --heat: 38 160 105; }
@media (prefers-color-scheme: dark) { :root { --kept: #5fd39d; --gone: #98938a; } }
.wide { margin: 0 0 .8rem; } td { vertical-align: top; } td .soft { font-size: .82rem; } td.name { min-width: 13rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: .6rem 0 0; unicode-bidi: plaintext; }
article { margin: 0 0 1rem; } mark, del { color: inherit; background: none; }
mark { background: rgb(var(--heat) / .18); border-radius: .15rem; text-decoration: underline;
  text-decoration-color: var(--kept); text-underline-offset: .22em; }
del { color: var(--gone); text-decoration-thickness: 1px; }
body:has(.only-kept:checked) del { display: none; } .only-kept { accent-color: var(--kept); margin: 0 .4rem 0 0; }
"""


def page(result: TuneResult) -> str:
    """The page about `result`."""
    full = result.baselines[0]
    title = f"A prompt of {full.tokens:,} tokens, pruned"
    parts = [
        f'<header><p class="tag">contextpruner prompt tune</p><h1>{title}</h1></header><main>',
        _facts(result),
        "<h2>Score against tokens</h2>",
        _curve(result),
        "<h2>What each search came to</h2>",
        f'<p class="soft">{_says(result)}</p>',
        _table(result),
        "<h2>The pruned prompts</h2>",
        '<p class="soft"><mark>kept</mark>, <del>dropped</del>; why a piece was dropped stands in its tooltip. '
        '<label><input class="only-kept" type="checkbox">kept text only</label></p>',
        *(_article(one) for one in result.prompts),
        "</main>",
    ]
    return html_page(f"{title} - contextpruner", line_svg.STYLE + STYLE, "\n".join(parts))


def _says(result: TuneResult) -> str:
    unit = "Accuracy, in per cent" if result.has_labels else "Mean log-likelihood of an answer's token, in nats"
    return (
        f"{unit}, with 95 % intervals. Searches saw the {result.development_rows:,} development rows alone, to which "
        f"they are fitted: what counts are the {result.held_out_rows:,} held-out rows. Differences are of the same row."
    )


def _facts(result: TuneResult) -> str:
    full, none = result.baselines
    facts = {
        "Full prompt": f"{full.tokens:,} tokens <small>{_inline(result, full.held_out.main)} held out</small>",
        "Nothing of it": f"{none.tokens:,} tokens <small>{_inline(result, none.held_out.main)} held out</small>",
        "Model": html_text(one_line(result.model, 120)),
        "Rows": f"{result.development_rows:,} development, {result.held_out_rows:,} held out",
    }
    cards = "".join(f'<div class="card"><dt>{name}</dt><dd>{value}</dd></div>' for name, value in facts.items())
    return f'<dl class="cards">{cards}</dl>'


def _curve(result: TuneResult) -> str:
    full, none = result.baselines
    ends = [Point(none.tokens, none.held_out.main), Point(full.tokens, full.held_out.main)]
    curves = []
    for search in dict.fromkeys(one.search for one in result.prompts):
        own = [Point(one.tokens, one.held_out.main) for one in result.prompts if one.search == search]
        curves.append(Curve(search, sorted(own, key=lambda point: point.tokens)))
    lots = {one.tokens: Point(one.tokens, one.by_lot.main) for one in result.prompts}
    lots |= {point.tokens: point for point in ends}
    curves.append(Curve(BY_LOT, [lots[tokens] for tokens in sorted(lots)]))
    drawn = [point.score for curve in curves for point in curve.points]
    low, high = min(one.low for one in drawn), max(one.high for one in drawn)
    shown = {low: _number(result, low), high: _number(result, high)}
    return line_svg.legend([curve.name for curve in curves]) + figure(curves, ends[1], shown)


def _table(result: TuneResult) -> str:
    numbers = ("tokens", "development", "held out", "random dropping", "against random", "against full", "cost")
    cells = "".join(f'<th class="n">{name}</th>' for name in numbers)
    head = f'<th class="name">search</th>{cells}'
    rows = "".join(_row(result, one) for one in result.prompts)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(result: TuneResult, one: TunedPrompt) -> str:
    def number(scores: Scores, is_difference: bool = False) -> str:
        return f'<td class="n">{_shown(result, scores.main, is_difference)}</td>'

    return (
        f'<tr><td class="name">{html_text(one_line(one.search, 120))}<br>'
        f'<span class="soft">{html_text(one.verdict)}</span></td>'
        f'<td class="n">{one.tokens:,}<br><span class="soft">of at most {one.max_tokens:,}</span></td>'
        + number(one.development) + number(one.held_out) + number(one.by_lot)
        + number(one.to_random, True) + number(one.to_full, True)
        + f'<td class="n">{one.evaluations:,} evaluations<br><span class="soft">{one.seconds:,.1f} s</span></td></tr>'
    )  # fmt: skip


def _article(one: TunedPrompt) -> str:
    n_kept = sum(piece.kept for piece in one.pieces)
    body = "".join(map(_piece, one.pieces)) or '<span class="soft">There is nothing before the question.</span>'
    return f"""<article><h3>{html_text(one_line(one.search, 120))}: {one.tokens:,} tokens</h3>
<p class="soft">{n_kept:,} of {len(one.pieces):,} pieces kept; it {html_text(one.verdict)}.</p>
<p class="text" dir="auto">{body}</p></article>"""


def _piece(piece: Piece) -> str:
    text = html_text(printable(piece.text))
    if piece.kept:
        return f"<mark>{text}</mark>"
    where = "instruction" if piece.part < 0 else f"shot {piece.part + 1}"
    return f'<del title="{html_text(one_line(f"{where} · {piece.reason}", 200))}">{text}</del>'


def _shown(result: TuneResult, value: Interval, is_difference: bool = False) -> str:
    ends = [_number(result, one, is_difference) for one in (value.mean, value.low, value.high)]
    return f'{ends[0]}<br><span class="soft">{ends[1]} to {ends[2]}</span>'


def _inline(result: TuneResult, value: Interval) -> str:
    mean, low, high = (_number(result, one) for one in (value.mean, value.low, value.high))
    return f"{mean} ({low} to {high})"


def _number(result: TuneResult, value: float, is_difference: bool = False) -> str:
    """Accuracy in per cent, likelihood in nats; a difference with its sign."""
    scaled, digits = (100 * value, 1) if result.has_labels else (value, 3)
    # no minus before a nought
    scaled = 0.0 if math.isclose(scaled, 0, abs_tol=0.5 * 10**-digits) else scaled
    return f"{scaled:{'+' if is_difference else ''}.{digits}f}"
