"""The tables of the page; every text that is no constant is escaped here."""

from __future__ import annotations

from collections.abc import Sequence

from contextpruner.training.evaluation.coverage import TARGETS, Coverage
from contextpruner.training.evaluation.evaluation import Evaluation
from contextpruner.training.evaluation.question_pairs import FormReport
from contextpruner.training.evaluation.reader import Difference, ReaderReport
from contextpruner.training.evaluation.report import AtCut, SetReport
from prunekernels.io.escape import html_text, one_line

NOTHING = '<span class="soft">–</span>'
HEADS = ("recall", "at random", "all gold", "answers", "at random", "span F2", "unit F2", "characters", "tokens")
RANKS = ("right first", "MRR", "nDCG@10")


def name(value: str, most: int = 120) -> str:
    """What a file or a person calls something, for a page."""
    return html_text(one_line(value, most))


def percent(value: float | None) -> str:
    """A share as per cent with one digit; a dash for None."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def at_cut(rows: Sequence[tuple[str, AtCut]]) -> str:
    """What is kept at one cut: a row for each labeler."""
    body = "".join(
        _row(labeler, [percent(value) for value in _values(at)] + [_threshold(at)]) for labeler, at in rows if at
    )
    over = '<th class="group" colspan="7">kept, %</th><th class="group" colspan="2">removed, %</th>'
    groups = f"<tr><th></th>{over}<th></th></tr>"
    return _table(["labeler", *HEADS, "threshold"], body, groups)


def _values(at: AtCut) -> list[float | None]:
    own, by_chance = at.kept, at.random
    kept = [own.recall, by_chance.recall, own.all_gold, own.retained, by_chance.retained, own.span_f2, own.unit_f2]
    return [*kept, own.removed, own.removed_tokens]


def _threshold(at: AtCut) -> str:
    cut = at.cut
    first = "none kept" if cut.threshold is None else f"{cut.threshold:.4g}"
    return first if cut.below is None else f"{first}, {100 * cut.share:.0f} % of questions at {cut.below:.4g}"


def whole_curve(rows: Sequence[SetReport]) -> str:
    """What hangs on no cut: area, unanswerable questions, the order of documents, time."""
    body = ""
    for row in rows:
        rank = row.ranking
        ranks = [None] * 3 if rank is None else [rank.first, rank.mrr, rank.ndcg]
        times = (row.milliseconds, row.milliseconds_of_1000_characters, row.milliseconds_of_1000_tokens)
        shares = [row.area, row.empty, *ranks]
        body += _row(row.labeler, [*map(percent, shares), *(f"{took:,.2f}" for took in times)])
    heads = ["labeler", "area, %", "left empty, %", *(f"{rank}, %" for rank in RANKS)]
    return _table([*heads, "ms a question", "ms / 1,000 characters", "ms / 1,000 tokens"], body)


def by_set(found: Evaluation, labelers: Sequence[str], names: Sequence[str]) -> str:
    """Recall of every set and labeler, under its own threshold and the one for all."""
    rows = {(row.questions, row.labeler): row for row in found.sets}
    body = ""
    for questions in names:
        own = [rows[questions, labeler] for labeler in labelers]
        cells = [f"{own[0].n:,}"]
        for row in own:
            own_kept, kept = (None if at is None else at.kept for at in (row.at_own, row.at_global))
            shares: list[float | None] = [None] * 3
            if own_kept is not None and kept is not None:
                shares = [own_kept.recall, kept.recall, kept.removed]
            cells += map(percent, shares)
        body += _row(questions, cells)
    heads = "".join(f'<th class="group" colspan="3">{name(labeler)}</th>' for labeler in labelers)
    groups = f"<tr><th></th><th></th>{heads}</tr>"
    return _table(["questions", "n", *["at own", "at global", "removed there"] * len(labelers)], body, groups)


def coverage(rows: Sequence[Coverage]) -> str:
    """A row for each set and labeler, a column for each target."""
    found = {(row.questions, row.labeler, row.target): row for row in rows}
    body = ""
    for questions, labeler in dict.fromkeys((row.questions, row.labeler) for row in rows):
        own = [found[questions, labeler, target] for target in TARGETS]
        sizes = f"{own[0].n_calibrated:,} / {own[0].n_measured:,}"
        cells = [f'<td class="name">{name(labeler)}</td>', f'<td class="n">{sizes}</td>', *map(_covered, own)]
        body += f'<tr><td class="name">{name(questions)}</td>{"".join(cells)}</tr>'
    heads = [f"recall for {100 * target:g} %" for target in TARGETS]
    return _table(["questions", "labeler", "calibrated / measured", *heads], body)


def _covered(row: Coverage) -> str:
    if row.recall is None or row.low is None or row.high is None:
        return f'<td class="n"><span class="soft" title="{name(row.refused, 300)}">refused</span></td>'
    state = "" if row.high >= row.target else '<br><span class="short">below target</span>'
    interval = f"{100 * row.low:.1f} to {100 * row.high:.1f}"
    kept = f'<br><span class="soft">{interval}; {percent(row.kept)} kept</span>'
    return f'<td class="n">{percent(row.recall)}{kept}{state}</td>'


def forms(rows: Sequence[FormReport]) -> str:
    """Pairs of a plain question and the same in another form."""
    body = "".join(
        _row(row.labeler, [name(row.form), f"{row.n:,}", percent(row.plain), percent(row.recall), _points(row)])
        for row in rows
    )
    return _table(["labeler", "asked", "pairs", "plain, %", "so asked, %", "difference, points"], body)


def _points(row: FormReport) -> str:
    return f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"


def reader(rows: Sequence[ReaderReport]) -> str:
    """Log-likelihoods of answers under each context, and what pruning changes."""
    body = "".join(
        f'<tr><td class="name">{name(row.questions)}</td><td class="name">{name(row.labeler)}</td>'
        f'<td class="n">{row.n:,}</td>'
        + "".join(f'<td class="n">{value:.3f}</td>' for value in (row.full, row.pruned, row.random, row.none))
        + "".join(f'<td class="n">{_difference(one)}</td>' for one in (row.pruned_to_full, row.pruned_to_random))
        + "</tr>"
        for row in rows
    )
    heads = ["questions", "labeler", "n", "full", "pruned", "random", "none", "pruned - full", "pruned - random"]
    return _table(heads, body)


def _difference(value: Difference) -> str:
    return f"{value.mean:+.3f} ({value.low:+.3f} to {value.high:+.3f})"


def _row(head: str, cells: Sequence[str]) -> str:
    numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
    return f'<tr><td class="name">{name(head)}</td>{numbers}</tr>'


def _table(heads: Sequence[str], body: str, groups: str = "") -> str:
    texts = ("labeler", "questions")
    cells = "".join(f'<th class="{"name" if head in texts else "n"}">{html_text(head)}</th>' for head in heads)
    return f'<div class="wide"><table><thead>{groups}<tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
