"""The view in a browser: one self-contained HTML page without scripts, every text escaped.

The shade behind a unit is its probability. Kept or dropped shows without colour too: kept units are
underlined, dropped ones struck through, and marked up as <mark> and <del>. Probability and reason stand in a
unit's tooltip; a switch hides what is dropped. Light and dark, wide and narrow, by the reader's own settings.
"""

from __future__ import annotations

from html import escape

from contextpruner.result import PrunedDocument, Result, Span
from contextpruner.view import name_of, percent, printable

STYLE = """
:root { color-scheme: light dark; --page: #f7f6f3; --card: #fff; --ink: #1c1b19; --soft: #5f5b53;
  --line: #dedad1; --heat: 38 160 105; --kept: #1d7a4f; --gone: #6b665d; --most: .38; }
@media (prefers-color-scheme: dark) { :root { --page: #161614; --card: #201f1d; --ink: #eceae4;
  --soft: #a8a49a; --line: #3a3833; --heat: 52 190 128; --kept: #5fd39d; --gone: #98938a; --most: .42; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.65 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.all { max-width: 52rem; margin: 0 auto; padding: 2rem 1.1rem 3rem; }
.tag { margin: 0; color: var(--soft); font-size: .85rem; }
h1 { margin: .1rem 0 1rem; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere;
  white-space: pre-wrap; }
dl { display: flex; flex-wrap: wrap; gap: .6rem 2rem; margin: 0 0 1.2rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
dd small { font-weight: 400; color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.4rem; font-size: .88rem;
  color: var(--soft); margin: 0 0 1.4rem; padding: .7rem 0; border-block: 1px solid var(--line); }
.scale { display: inline-flex; align-items: center; gap: .5rem; }
.scale i { width: 7rem; height: .9rem; border-radius: .2rem; border: 1px solid var(--line);
  background: linear-gradient(90deg, transparent, rgb(var(--heat) / var(--most))); }
.switch { margin-left: auto; } .switch label { cursor: pointer; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem 1.2rem 1.1rem; margin: 0 0 1rem; }
h2 { margin: 0; font-size: 1.08rem; overflow-wrap: anywhere; }
.facts { margin: 0 0 .6rem; color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
mark, del { color: inherit; background: rgb(var(--heat) / calc(var(--p) * var(--most)));
  border-radius: .2rem; padding: .08em 0; -webkit-box-decoration-break: clone; box-decoration-break: clone; }
mark { text-decoration: underline; text-decoration-color: var(--kept); text-decoration-thickness: 2px;
  text-underline-offset: .22em; }
del { color: var(--gone); text-decoration: line-through; text-decoration-thickness: 1px; }
.none { color: var(--soft); font-style: italic; margin: 0; }
body:has(.only-kept:checked) .drop { display: none; }
.only-kept { accent-color: var(--kept); margin: 0 .4rem 0 0; vertical-align: -.05em; }
@media (max-width: 34rem) { .all { padding-top: 1.1rem; } h1 { font-size: 1.3rem; }
  article { padding: .8rem .9rem; } .switch { margin-left: 0; } }
@media print { .switch { display: none; } article { break-inside: avoid; } }
"""


def page(result: Result) -> str:
    """`result` as one HTML page."""
    question = _text(result.question.strip())
    documents = "\n".join(_article(index, document) for index, document in enumerate(result.documents))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{question} - contextpruner</title>
<style>{STYLE}</style>
</head>
<body><div class="all">
<header>
<p class="tag">Question</p>
<h1 dir="auto">{question}</h1>
{_totals(result)}
</header>
{LEGEND}
<main>
{documents}
</main>
</div></body>
</html>
"""


LEGEND = """<div class="legend">
<span><mark style="--p:0.8">kept</mark></span>
<span><del style="--p:0.1">dropped</del></span>
<span class="scale">0 <i></i> 1 <span>probability</span></span>
<span class="switch"><label><input class="only-kept" type="checkbox">kept text only</label></span>
</div>"""


def _totals(result: Result) -> str:
    rule = result.policy.rule
    facts = {
        "Characters": _count(result.n_characters_after, result.n_characters_before),
        "Tokens": _count(result.n_tokens_after, result.n_tokens_before),
        "Documents": _count(sum(bool(item.text) for item in result.documents), len(result.documents)),
        "Rule": _text(f"{rule} = {getattr(result.policy, rule)}"),
        "Labeler": f"{_text(result.labeler.partition(':')[0])} <small>{result.labelling_ms:.1f} ms</small>",
    }
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items()) + "</dl>"


def _count(after: int, before: int) -> str:
    return f"{after:,} of {before:,} <small>({percent(after, before)})</small>"


def _article(index: int, document: PrunedDocument) -> str:
    kept = percent(document.n_characters_after, document.n_characters_before)
    n_kept = sum(span.kept for span in document.seen)
    facts = f"score {document.score:.2f} · kept {kept} of the characters, {n_kept} of {len(document.seen)} units"
    units = "".join(_unit(document, span) for span in document.seen)
    body = f'<p class="text" dir="auto">{units}</p>' if document.seen else '<p class="none">This document is empty.</p>'
    return f"""<article>
<h2 dir="auto">{_text(name_of(index, document))}</h2>
<p class="facts">{facts}</p>
{body}
</article>"""


def _unit(document: PrunedDocument, span: Span) -> str:
    tag = "mark" if span.kept else "del"
    slice_ = printable(document.shown(span))
    bare = slice_.rstrip()
    tip = f"{span.probability:.3f} · {span.reason.replace('_', ' ')} · characters {span.start} to {span.end}"
    shown = f'<{tag} style="--p:{span.probability:.3f}" title="{tip}">{escape(bare)}</{tag}>' if bare else ""
    shown += slice_[len(bare) :]
    return shown if span.kept else f'<span class="drop">{shown}</span>'


def _text(text: str) -> str:
    return escape(printable(text))
