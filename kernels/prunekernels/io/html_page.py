"""The frame of a page: one HTML file with everything in it, no script, nothing loaded from elsewhere.

A page brings its body, in which every text of others went through `escape`, and the styles that it alone needs. The
styles here are what pages have in common: light and dark by the reader's own settings, cards, tables that scroll by
themselves where a screen is narrow, and charts whose drawing stretches while their words, in HTML, do not.
"""

from __future__ import annotations

from prunekernels.io.escape import GENERATOR_TAG, POLICY_TAG, html_text

STYLE = """
:root { color-scheme: light dark; --page: #f7f6f3; --card: #fff; --ink: #1c1b19; --soft: #5f5b53;
  --line: #dedad1; }
@media (prefers-color-scheme: dark) { :root { --page: #161614; --card: #201f1d; --ink: #eceae4;
  --soft: #a8a49a; --line: #3a3833; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.all { max-width: 68rem; margin: 0 auto; padding: 2rem 1.1rem 3rem; }
.tag { margin: 0; color: var(--soft); font-size: .85rem; }
h1 { margin: .1rem 0 1.1rem; font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.2rem 0 .3rem; font-size: 1.2rem; }
h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: 0 0 .7rem; } .soft { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .86em; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin: 0 0 1rem; }
.card, article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1.1rem; }
.card dt { color: var(--soft); font-size: .85rem; }
.card dd { margin: 0; font-variant-numeric: tabular-nums; }
.card .big { font-size: 1.45rem; font-weight: 650; line-height: 1.3; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: .8rem; }
figure { margin: .7rem 0 0; } figure svg { display: block; width: 100%; height: 9rem; }
.plot { position: relative; border-bottom: 1px solid var(--soft); }
.top { position: absolute; top: 0; left: 0; color: var(--soft); font-size: .75rem; }
.axis { display: flex; justify-content: space-between; color: var(--soft); font-size: .78rem;
  font-variant-numeric: tabular-nums; }
.axis span { flex: 1; text-align: center; } .axis span:first-child { text-align: left; }
.axis span:last-child { text-align: right; }
figcaption { color: var(--soft); font-size: .85rem; margin-top: .4rem; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; margin: 0 0 .8rem; color: var(--soft);
  font-size: .88rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
.wide { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .3rem .9rem;
  overflow-x: auto; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: .82rem; vertical-align: bottom; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; } tbody tr:last-child td { border-bottom: 0; }
.n { text-align: right; white-space: nowrap; } td.name { overflow-wrap: anywhere; min-width: 7rem; }
summary { cursor: pointer; color: var(--soft); margin: .7rem 0; }
@media (max-width: 40rem) { .all { padding-top: 1.1rem; } h1 { font-size: 1.35rem; }
  .card, article { padding: .7rem .85rem; } .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .card .big { font-size: 1.2rem; } }
@media print { details > * { display: block; } article { break-inside: avoid; } }
"""


def html_page(title: str, style: str, body: str) -> str:
    """A page with `title`, a text, in its head; `style` is CSS behind the common one, `body` HTML."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
{POLICY_TAG}
{GENERATOR_TAG}
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html_text(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body><div class="all">
{body}
</div></body>
</html>
"""
