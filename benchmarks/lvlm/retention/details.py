"""What is lost where, at the opening table's share of the tokens, and what the numbering of positions changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.lvlm.retention.cases import DOWNSAMPLE, FULL
from benchmarks.lvlm.retention.intervals import Verdict, difference_interval, verdict
from benchmarks.lvlm.retention.journal import Entry
from benchmarks.lvlm.retention.summary import OPENING, marks_of, summary
from benchmarks.lvlm.retention.table import Row, share


@dataclass(frozen=True)
class DetailRow:
    """What is lost where: questions about regions, counts, colours and digits of the main pictures, about numbers and
    words of those to be read; over all kinds, questions that a smaller picture of as many tokens answers (`easy`) and
    does not (`hard`); and what numbering the tokens that stay anew (`compact`) changes, with a verdict on it.
    """

    method: str
    region: float | None
    count: float | None
    colour: float | None
    digit: float | None
    number: float | None
    word: float | None
    easy: float | None
    hard: float | None
    compact_less_keep: float | None
    compact_against_keep: Verdict | Literal[""]


def details(rows: Sequence[Row], entries: Mapping[tuple[str, str], Entry]) -> list[DetailRow]:
    """What each method loses at `OPENING` of the tokens, in the order of the summary."""
    return [_detail(one.method, rows, entries) for one in summary(rows, entries) if one.keep_ratio in (OPENING, 1)]


def _detail(method: str, rows: Sequence[Row], entries: Mapping[tuple[str, str], Entry]) -> DetailRow:
    text, ratio = (None, 1.0) if method == FULL else (method, OPENING)
    positions = "compact" if method == DOWNSAMPLE else "keep"
    wanted = (method, ratio, positions, "tokens")
    same = {one.pictures: one for one in rows if (one.method, one.keep_ratio, one.positions, one.budget) == wanted}
    main, reading = same.get("main"), same.get("reading")
    own, compact = (marks_of(text, ratio, policy, entries) for policy in (positions, "compact"))
    smaller = marks_of(DOWNSAMPLE, OPENING, "compact", entries) or None
    has_both = method != FULL and positions == "keep" and len(compact) == len(own)
    return DetailRow(
        method=method,
        region=main.region if main else None,
        count=main.count if main else None,
        colour=main.colour if main else None,
        digit=main.digit if main else None,
        number=reading.number if reading else None,
        word=reading.word if reading else None,
        easy=share(own, smaller, True),
        hard=share(own, smaller, False),
        compact_less_keep=(share(compact) or 0) - (share(own) or 0) if has_both else None,
        compact_against_keep=verdict(*difference_interval(compact, own)) if has_both else "",
    )
