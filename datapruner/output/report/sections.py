"""The sections of a report as HTML; every text that is no constant is escaped here or in html_words."""

from __future__ import annotations

from datapruner.output.report import histogram_svg
from datapruner.output.report.example_rows import READ, Duplicates, Example, ExampleRows, Pair, Side
from datapruner.output.report.html_words import beginning, compared, name, number, share
from datapruner.output.report.statistics import Group, Histogram, Size, Statistics
from datapruner.selection.selection import Selection

# rows of a table: the others are added up in one
MOST_LINES = 25
# pairs that are open at once
OPEN_PAIRS = 5


def sizes(statistics: Statistics) -> str:
    """One card for each of rows, characters and tokens, and one for what is saved."""
    cards = [_card(size) for size in statistics.sizes]
    for size in statistics.sizes:
        if size.name == "tokens":
            about = "about " if size.estimated else ""
            saved = share(size.before - size.after, size.before)
            note = "estimated as bytes / 4" if size.estimated else "as the tokenizer counts"
            cards.append(_cell("training tokens saved", f"{about}{size.before - size.after:,}",
                               f"{saved} of every epoch, {note}"))  # fmt: skip
    return f'<dl class="cards">{"".join(cards)}</dl>'


def _card(size: Size) -> str:
    about = "about " if size.estimated else ""
    return _cell(size.name, f"{about}{size.after:,}", f"of {size.before:,}, {share(size.after, size.before)} kept")


def _cell(name: str, big: str, note: str) -> str:
    return f'<div class="card"><dt>{name}</dt><dd class="big">{big}</dd><dd class="soft">{note}</dd></div>'


def warnings(texts: list[str]) -> str:
    """A box with what should be known before training on this."""
    if not texts:
        return ""
    told = [name(text, 1000) for text in texts[:MOST_LINES]]
    told += [f"{len(texts) - MOST_LINES:,} more warnings"] if len(texts) > MOST_LINES else []
    return f'<div class="warn" role="note">{"".join(f"<p>{text}</p>" for text in told)}</div>'


LEGEND = (
    '<div class="legend"><span class="kept"><i></i>kept</span><span><i></i>dropped</span>'
    '<span class="line"><i></i>cut</span></div>'
)


def histograms(statistics: Statistics) -> str:
    """One figure for each score."""
    if not statistics.histograms:
        return ""
    figures = "".join(_figure(item) for item in statistics.histograms)
    others = statistics.other_scores
    more = f'<p class="soft">and {others:,} more scores</p>' if others else ""
    return f'<h2>Scores</h2>{LEGEND}<div class="charts">{figures}</div>{more}'


def _figure(item: Histogram) -> str:
    about = "" if item.column is None else f'<p class="soft">{name(item.column["direction"])}</p>'
    return f"<article><h3>{name(item.name)}</h3>{about}{histogram_svg.histogram(item)}</article>"


def mix(statistics: Statistics) -> str:
    """Groups before and after."""
    if not statistics.mix:
        return ""
    before, after = (sum(getattr(group, side) for group in statistics.mix) for side in ("before", "after"))
    moved = sum(abs(g.before / before - g.after / max(after, 1)) for g in statistics.mix) / 2
    lines, others = list(statistics.mix[:MOST_LINES]), statistics.mix[MOST_LINES:]
    if others:
        rest = f"{len(others):,} other groups"
        lines.append(Group(rest, sum(g.before for g in others), sum(g.after for g in others)))
    most = max(max(g.before / before, g.after / max(after, 1)) for g in lines)
    body = "".join(_group(group, before, max(after, 1), most) for group in lines)
    return f"""<h2>Groups before and after</h2>
<p class="soft">{100 * moved:.1f} % of the mix moved from one group to another.</p>
<div class="wide"><table><thead><tr><th>group</th><th class="n">before</th><th class="n">after</th>
<th class="bars"></th></tr></thead><tbody>{body}</tbody></table></div>"""


def _group(group: Group, before: int, after: int, most: float) -> str:
    bars = "".join(
        f'<span class="bar{style}" style="width:{100 * part / most:.1f}%"></span>'
        for style, part in (("", group.before / before), (" kept", group.after / after))
    )
    return (
        f'<tr><td class="name" dir="auto">{name(group.name)}</td>'
        f'<td class="n">{group.before:,} <small>{share(group.before, before)}</small></td>'
        f'<td class="n">{group.after:,} <small>{share(group.after, after)}</small></td>'
        f'<td class="bars">{bars}</td></tr>'
    )


def reasons(selection: Selection) -> str:
    """Why rows were dropped, the most common reason first."""
    found = sorted(selection.counts().items(), key=lambda item: (-item[1], item[0]))
    found = [(text, count) for text, count in found if count]
    if not found:
        return "<h2>Why rows were dropped</h2><p>No row was dropped.</p>"
    lines, others = found[:MOST_LINES], found[MOST_LINES:]
    if others:
        lines.append((f"{len(others):,} other reasons", sum(count for _, count in others)))
    most = max(count for _, count in lines)
    body = "".join(
        f'<tr><td class="n">{count:,}</td><td class="n">{share(count, selection.n_rows)}</td>'
        f'<td class="name" dir="auto">{name(text, 300)}</td><td class="bars">'
        f'<span class="bar" style="width:{100 * count / most:.1f}%"></span></td></tr>'
        for text, count in lines
    )
    return f"""<h2>Why rows were dropped</h2>
<div class="wide"><table><thead><tr><th class="n">rows</th><th class="n">of all</th><th>reason</th>
<th class="bars"></th></tr></thead><tbody>{body}</tbody></table></div>"""


def duplicates(rows: ExampleRows, texts: dict[int, str] | None) -> str:
    """Pairs of rows that are most alike, the words that differ marked."""
    return "".join(_duplicates(item, texts) for item in rows.duplicates)


def _duplicates(item: Duplicates, texts: dict[int, str] | None) -> str:
    title = f"<h2>Nearest duplicates by {name(item.column)}</h2>"
    if not item.pairs:
        return title + "<p>No row resembles another one.</p>"
    pairs = [_pair(pair, texts) for pair in item.pairs]
    rest = "".join(pairs[OPEN_PAIRS:])
    more = f"<details><summary>{len(pairs) - OPEN_PAIRS} more pairs</summary>" if rest else ""
    end = f'<div class="list">{rest}</div></details>' if rest else ""
    return f"""{title}
<p class="soft">{item.equal:,} rows have a score of 1: they equal another row, or nearly. Of those the page shows a
few; then the next most alike. Words that differ are marked.</p>
<div class="list">{"".join(pairs[:OPEN_PAIRS])}</div>{more}{end}"""


def _pair(pair: Pair, texts: dict[int, str] | None) -> str:
    sides, same = ("", ""), ""
    if texts is not None:
        one, two = texts[pair.row], texts[pair.nearest]
        sides = compared(one, two)
        same = "" if one != two else "<span>equal texts</span>" if len(one) < READ else "<span>equal so far</span>"
    halves = "".join(
        f'<div><p class="facts">{_state(kept)}<span dir="auto">{name(uid, 120)}</span><span>row {row:,}</span></p>'
        f"{_text(side, texts)}</div>"
        for side, uid, kept, row in zip(sides, pair.uids, pair.kept, (pair.row, pair.nearest), strict=True)
    )
    score = f'<p class="facts"><span>score {number(pair.score)}</span>{same}</p>'
    return f'<article>{score}<div class="two apart">{halves}</div></article>'


def sides(rows: ExampleRows, texts: dict[int, str] | None) -> str:
    """Rows just kept and just dropped, for each step that ranked by a score."""
    return "".join(_side(side, texts) for side in rows.sides)


def _side(side: Side, texts: dict[int, str] | None) -> str:
    columns = "".join(
        f'<div class="list">{"".join(_example(side.by, item, texts) for item in items) or _nothing(word)}</div>'
        for word, items in (("kept", side.kept), ("dropped", side.dropped))
    )
    return f"""<h2>Both sides of the cut: {name(side.by)}</h2>
<p class="soft">Step {side.number}: the kept rows whose score is nearest to a dropped one, and the other way round.</p>
<div class="two">{columns}</div>"""


def _nothing(word: str) -> str:
    return f'<p class="none">No row was {word} here.</p>'


def _example(by: str, item: Example, texts: dict[int, str] | None) -> str:
    reason = "" if item.reason is None else f'<p class="soft" dir="auto">{name(item.reason, 300)}</p>'
    text = "" if texts is None else beginning(texts[item.row])
    group = "" if item.group is None else f'<span dir="auto">{name(item.group, 120)}</span>'
    return (
        f'<article><p class="facts">{_state(item.reason is None)}<span>{name(by)} {number(item.score)}</span>'
        f'<span dir="auto">{name(item.uid, 120)}</span><span>row {item.row:,}</span>{group}</p>{reason}'
        f"{_text(text, texts)}</article>"
    )


def _state(kept: bool) -> str:
    return f'<span class="state{"" if kept else " gone"}">{"kept" if kept else "dropped"}</span>'


def _text(text: str, texts: dict[int, str] | None) -> str:
    if texts is None:
        return ""
    return f'<p class="text" dir="auto">{text}</p>' if text.strip() else '<p class="none">An empty text.</p>'
