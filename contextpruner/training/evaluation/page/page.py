"""The page of an evaluation: curves of every set, tables, and words that say what each number is."""

from __future__ import annotations

from collections.abc import Sequence

from contextpruner.training.evaluation.evaluation import Evaluation
from contextpruner.training.evaluation.page import tables
from contextpruner.training.evaluation.page.curve_svg import panel
from contextpruner.training.evaluation.report import LOST, REMOVED, SetReport
from prunekernels.io import line_svg
from prunekernels.io.html_page import html_page

SHARE = f"{100 * REMOVED:g} %"
# sets of which all curves stand before the tables
FEW = 6
STYLE = """
:root { --short: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --short: #ff8a80; } }
.axis .at { position: absolute; left: SHARE; transform: translateX(-50%); }
th { white-space: normal; } .short { color: var(--short); } td .soft { font-size: .82rem; }
td.name { max-width: 18rem; } td { vertical-align: top; } .wide { margin: 0 0 .8rem; }
th.group { text-align: center; } .wide :is(td, th):first-child { position: sticky; left: 0; background: var(--card); }
@media (max-width: 40rem) { td.name { max-width: 9rem; } }
dl.words { margin: 0; } dl.words dt { font-weight: 600; margin-top: .7rem; } dl.words dd { margin: 0; }
""".replace("SHARE", f"{100 * REMOVED:g}%")
WORDS = {
    "recall": "Mean over questions of the share of a question's gold units (those that share a letter with what "
    "answers) that is kept.",
    "all gold": "Share of questions of which every gold unit is kept.",
    "answers": "Share of questions whose answer still stands word for word in what is kept; where no answer is known, "
    "or it is nowhere in the documents, every gold span has to.",
    "at random": "What random deletion keeps that is as long, question by question: units in a random order, mean of "
    "16 orders.",
    "span F2, unit F2": "5 P R / (4 P + R), in which recall counts twice: over characters, of gold spans against kept "
    "ones, and over units. A short answer in a long sentence bounds the first far below 100.",
    "removed": "Of the characters, or tokens, of a source's questions with gold the share that is not kept; every "
    "source counts the same.",
    "threshold": "Units of at least this probability are kept. Where no threshold removes exactly so much, a share of "
    "the questions has the next lower one; without that, labelers would be compared at unequal lengths.",
    "area": "Under recall over removed characters, from nothing removed to everything.",
    "left empty": f"Of the questions without an answer, the share of which nothing is kept, where of the others "
    f"{100 * LOST:g} % lose everything.",
    "right first, MRR, nDCG@10": "Of the questions with several documents: how often one that answers is scored best, "
    "the mean of 1 / its place, and the discounted gain of the first ten. Ties count against the labeler.",
    "ms": "Time of labelling, without loading a model and cutting texts into units.",
}


def page(found: Evaluation, n_questions: int, given: bool) -> str:
    """The page about `found`, whose thresholds for all sets were `given` or found on the questions themselves."""
    labelers = [*dict.fromkeys(row.labeler for row in found.sets)]
    names = [*dict.fromkeys(row.questions for row in found.sets)]
    sources = [*dict.fromkeys(row.questions for row in found.sets if row.kind == "source")]
    first = [row for row in found.sets if row.questions == names[0]]
    title = f"What is kept for {n_questions:,} questions"
    parts = [
        f'<header><p class="tag">contextpruner evaluate</p><h1>{title}</h1></header><main>',
        _first(first, given),
        "<h2>Recall against length</h2>",
        f'<p class="soft">To the right, more is removed. The dashed line is at {SHARE}.</p>',
        _panels(found, labelers, names if len(names) <= FEW else [row for row in names if row not in sources]),
        "<h2>Recall by set</h2>",
        f'<p class="soft">Per cent, where {SHARE} of the set\'s own characters are removed, and under one threshold '
        "for all sets, with what that removes.</p>",
        tables.by_set(found, labelers, names),
        "" if len(names) <= FEW else _panels(found, labelers, sources),
        _details(found, names),
        _others(found),
        "<h2>What the numbers are</h2>",
        '<dl class="words">' + "".join(f"<dt>{word}</dt><dd>{said}</dd>" for word, said in WORDS.items()) + "</dl>",
        "</main>",
    ]
    return html_page(f"{title} - contextpruner", line_svg.STYLE + STYLE, "\n".join(part for part in parts if part))


def _first(rows: Sequence[SetReport], given: bool) -> str:
    under = [(row.labeler, row.at_global) for row in rows if row.at_global]
    if given:
        head, note = "Under the thresholds that were given", "They were not chosen on these questions."
    else:
        head = f"Where {SHARE} of the characters are removed"
        note = "One threshold for all questions, chosen on these questions."
    at = f'<p class="soft">{note}</p>{tables.at_cut(under)}' if under else ""
    return f"<h2>{head}</h2>{at}{tables.whole_curve(rows)}"


def _panels(found: Evaluation, labelers: Sequence[str], names: Sequence[str]) -> str:
    panels = []
    for questions in names:
        curves = [points for points in found.curves if points.questions == questions]
        rows = [row for row in found.sets if row.questions == questions]
        without = f", {rows[0].n_without_gold:,} without an answer" if rows[0].n_without_gold else ""
        noun = "question" if rows[0].n == 1 else "questions"
        if curves:
            places = [labelers.index(points.labeler) for points in curves]
            panels.append(panel(questions, f"{rows[0].n:,} {noun}{without}", curves, places))
    return f'{line_svg.legend(labelers)}<div class="charts">{"".join(panels)}</div>' if panels else ""


def _details(found: Evaluation, names: Sequence[str]) -> str:
    """All numbers of each set but the first, folded."""
    parts = ["<h2>All numbers of each set</h2>"] if names[1:] else []
    for questions in names[1:]:
        rows = [row for row in found.sets if row.questions == questions]
        own = tables.at_cut([(row.labeler, row.at_own) for row in rows if row.at_own])
        under = tables.at_cut([(row.labeler, row.at_global) for row in rows if row.at_global])
        cuts = f'<p class="soft">At its own threshold</p>{own}<p class="soft">At the threshold for all sets</p>{under}'
        parts.append(f"<details><summary>{tables.name(questions)}</summary>{cuts}{tables.whole_curve(rows)}</details>")
    return "".join(parts)


def _others(found: Evaluation) -> str:
    parts = []
    if found.forms:
        parts.append("<h2>Asked in another form</h2>")
        parts.append('<p class="soft">Recall of the same questions, asked plainly and so, under the threshold for all '
                     "sets, with the 95 % interval of the difference.</p>")  # fmt: skip
        parts.append(tables.forms(found.forms))
    if found.coverage:
        parts.append("<h2>Is a promised recall kept?</h2>")
        parts.append('<p class="soft">A threshold is calibrated for each target on one half of the questions, and '
                     "recall measured on the other, which shares no document with it. In per cent, with the 95 % "
                     "interval, which allows for the chance in both halves, and the characters that are kept. Refused "
                     "is a promise that so few questions, or this labeler, cannot give.</p>")  # fmt: skip
        parts.append(tables.coverage(found.coverage))
    if found.reader:
        n_too_long = max(row.n_too_long for row in found.reader)
        left_out = f" {n_too_long:,} more questions were too long for it." if n_too_long else ""
        parts.append("<h2>A reader's answer</h2>")
        parts.append('<p class="soft">Mean log-likelihood of the answer under a language model, nats a token; higher '
                     "is more likely. It reads the whole documents, what the labeler keeps, as much at random, or "
                     f"nothing. Differences are of the same question, with 95 % intervals.{left_out}</p>")  # fmt: skip
        parts.append(tables.reader(found.reader))
    return "".join(parts)
