"""The view in a browser: one self-contained HTML page without scripts, every text escaped.

The shade behind a unit is its probability. Kept or dropped shows without colour too: kept units are
underlined, dropped ones struck through, and marked up as <mark> and <del>. The label that cites a unit, its
probability and its reason stand in a tooltip, and for those without a mouse in a table that opens below the document; a
switch hides what is dropped. A document is shown as a reader sees it, HTML without its tags. Light and dark, wide and
narrow, left to right or not, by the reader's own settings and the text.
"""

from __future__ import annotations

from contextpruner.results.result import PrunedDocument, Result, Span, name_of, other_name_of, percent
from prunekernels.io.escape import html_text, one_line, printable
from prunekernels.io.html_page import html_page as framed

# behind what all pages have in common
STYLE = """
:root { --heat: 38 160 105; --kept: #1d7a4f; --gone: #6b665d; --most: .38; }
@media (prefers-color-scheme: dark) { :root { --heat: 52 190 128; --kept: #5fd39d; --gone: #98938a; --most: .42; } }
body { line-height: 1.65; } .all { max-width: 52rem; }
h1 { margin-bottom: 1rem; font-size: 1.6rem; white-space: pre-wrap; }
dl { display: flex; flex-wrap: wrap; gap: .6rem 2rem; margin: 0 0 1.2rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
dd small { font-weight: 400; color: var(--soft); }
.legend { align-items: center; gap: .5rem 1.4rem; margin: 0 0 1.4rem; padding: .7rem 0;
  border-block: 1px solid var(--line); }
.scale { display: inline-flex; align-items: center; gap: .5rem; }
.scale i { width: 7rem; height: .9rem; border-radius: .2rem; border: 1px solid var(--line);
  background: linear-gradient(90deg, transparent, rgb(var(--heat) / var(--most))); }
.switch { margin-left: auto; } .switch label { cursor: pointer; }
article { padding: 1rem 1.2rem 1.1rem; margin: 0 0 1rem; }
h2 { margin: 0; font-size: 1.08rem; overflow-wrap: anywhere; }
.facts { margin: 0 0 .6rem; color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; unicode-bidi: plaintext; text-align: start; }
.number { color: var(--soft); font-weight: 400; margin-inline-end: .5rem; }
.number:last-child { color: inherit; font-weight: inherit; }
article summary { margin: .6rem 0 0; font-size: .85rem; width: max-content; }
.why { overflow-x: auto; } .why table { font-size: .85rem; margin-top: .3rem; }
.why td { vertical-align: top; } .begin { min-width: 8rem; overflow-wrap: anywhere; }
.mono { font: .88em/1.65 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.heading { font-weight: 600; }
mark, del { color: inherit; background: rgb(var(--heat) / calc(var(--p) * var(--most)));
  border-radius: .2rem; padding: .08em 0; -webkit-box-decoration-break: clone; box-decoration-break: clone; }
mark { text-decoration: underline; text-decoration-color: var(--kept); text-decoration-thickness: 2px;
  text-underline-offset: .22em; }
del { color: var(--gone); text-decoration: line-through; text-decoration-thickness: 1px;
  text-decoration-color: color-mix(in srgb, var(--gone) 45%, transparent); }
.none { color: var(--soft); font-style: italic; margin: 0; }
body:has(.only-kept:checked) :is(.drop, .none-kept) { display: none; }
.only-kept { accent-color: var(--kept); margin: 0 .4rem 0 0; vertical-align: -.05em; }
@media (max-width: 40rem) { h1 { font-size: 1.3rem; } article { padding: .8rem .9rem; } .switch { margin-left: 0; } }
@media print { .switch { display: none; } }
"""


def html_page(result: Result) -> str:
    """`result` as one HTML page."""
    return framed(f"{result.question.strip()} - contextpruner", STYLE, html_body(result))


def html_body(result: Result) -> str:
    """What `html_page` shows, for a page that has `STYLE` already."""
    documents = "\n".join(_article(index, document) for index, document in enumerate(result.documents))
    return f"""<header>
<p class="tag">Question</p>
<h1 dir="auto">{html_text(result.question.strip())}</h1>
{_totals(result)}
</header>
{LEGEND}
<main>
{documents}
</main>"""


CLASSES: dict[str, str] = {**dict.fromkeys(("code", "fence", "table_row"), "mono"), "heading": "heading"}

EMPTY = '<p class="none">This document is empty.</p>'
# characters of a unit by which it is known in a table
BEGIN = 60

LEGEND = """<div class="legend">
<span><mark style="--p:0.8">kept</mark></span>
<span><del style="--p:0.1">dropped</del></span>
<span class="scale">0 <i></i> 1 <span>probability</span></span>
<span class="switch"><label><input class="only-kept" type="checkbox">kept text only</label></span>
</div>"""


def _totals(result: Result) -> str:
    # a threshold of a checkpoint has more digits than anybody reads
    rules = ", ".join(
        f"{rule} = {value:.4g}" if isinstance(value, float) else f"{rule} = {value}"
        for rule, value in result.policy.rules.items()
    )
    facts = {
        "Characters": _count(result.n_characters_after, result.n_characters_before),
        "Tokens": _count(result.n_tokens_after, result.n_tokens_before),
        "Documents": _count(sum(bool(item.text) for item in result.documents), len(result.documents)),
        "Rule": html_text(rules),
        "Labeler": f"{html_text(result.labeler.partition(':')[0])} <small>{result.labelling_ms:.1f} ms</small>",
    }
    if result.note:
        facts["Note"] = f"<small>{html_text(result.note)}</small>"
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items()) + "</dl>"


def _count(after: int, before: int) -> str:
    return f"{after:,} of {before:,} <small>({percent(after, before)})</small>"


def _article(index: int, document: PrunedDocument) -> str:
    kept = percent(document.n_characters_after, document.n_characters_before)
    n_kept = sum(span.kept for span in document.seen)
    facts = f"score {document.score:.2f} · kept {kept} of the characters, {n_kept} of {len(document.seen)} units"
    if other := other_name_of(document):
        facts = f"{html_text(other)} · {facts}"
    # the labels of citations.py
    numbered = enumerate(document.spans, 1)
    units = "".join(_unit(document, span, f"{index + 1}.{at}") for at, span in numbered if span.kind != "markup")
    body = f'<p class="text">{units}</p>{_why(index, document)}' if units else EMPTY
    # "document 1" says its number itself
    name = html_text(name_of(index, document)) if document.title or document.id is not None else ""
    return f"""<article{"" if n_kept else ' class="none-kept"'}>
<h2 dir="auto">{"" if name else "Document "}<span class="number">{index + 1}</span>{name}</h2>
<p class="facts">{facts}</p>
{body}
</article>"""


def _why(index: int, document: PrunedDocument) -> str:
    """A line a unit: its label, its probability, whether and why it is kept, and how it begins."""
    rows = "\n".join(
        _row(document, span, f"{index + 1}.{at}") for at, span in enumerate(document.spans, 1) if span.kind != "markup"
    )
    return f"""<details><summary>why, unit by unit</summary><div class="why"><table>
<thead><tr><th>unit</th><th class="n">probability</th><th>why</th><th>begins with</th></tr></thead>
<tbody>{rows}</tbody></table></div></details>"""


def _row(document: PrunedDocument, span: Span, label: str) -> str:
    why = f"{'kept' if span.kept else 'dropped'}: {span.reason.replace('_', ' ')}"
    begin = html_text(one_line(document.shown(span), BEGIN))
    return (
        f'<tr class="{"keep" if span.kept else "drop"}"><td>{label}</td><td class="n">{span.probability:.3f}</td>'
        f'<td>{html_text(why)}</td><td class="begin" dir="auto">{begin}</td></tr>'
    )


def _unit(document: PrunedDocument, span: Span, label: str) -> str:
    tag = "mark" if span.kept else "del"
    slice_ = printable(document.shown(span))
    bare = slice_.strip()
    # a line through white space would join two units, or stand before a line of code
    head = slice_[: len(slice_) - len(slice_.lstrip())] if bare else ""
    tail = slice_[len(head) + len(bare) :]
    facts = [f"[{label}]", f"{span.probability:.3f}", span.reason.replace("_", " ")]
    facts += [f"characters {span.start} to {span.end}", *([span.path] if span.path else [])]
    attributes = f'style="--p:{span.probability:.3f}" title="{html_text(" · ".join(facts))}"'
    shown = f"{head}<{tag} {attributes}>{html_text(bare)}</{tag}>{tail}" if bare else tail
    classes = " ".join(([] if span.kept else ["drop"]) + ([CLASSES[span.kind]] if span.kind in CLASSES else []))
    return f'<span class="{classes}">{shown}</span>' if classes else shown
