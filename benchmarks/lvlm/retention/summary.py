"""The table in short: a row for a method at a share of the tokens, the kinds of picture in columns, and verdicts.

At equal tokens each method keeps that share. At equal FLOPs it has those of a method before the decoder that does: one
inside it keeps fewer for the layers before its cut, and a smaller picture, or what a method inside the tower leaves of
it, has as many tokens as tower and decoder together allow.

Positions are kept, but for a smaller picture, which has those of a smaller picture. A method is ahead of a baseline, or
behind it, where the 95 % interval of the difference of their accuracies, over the questions of all kinds together and
with pictures drawn anew, does not hold 0; otherwise they are level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.lvlm.retention.cases import (
    BASELINES,
    DOWNSAMPLE,
    FULL,
    RANDOM_INSIDE,
    Case,
    cuts_once_inside,
    is_before,
    name_of,
)
from benchmarks.lvlm.retention.intervals import Verdict, difference_interval, verdict
from benchmarks.lvlm.retention.journal import Entry
from benchmarks.lvlm.retention.table import Row
from benchmarks.lvlm.scene import KINDS

OPENING, BEST = 0.25, 8
Marks = list[list[bool]]


@dataclass(frozen=True)
class SummaryRow:
    """Costs of a prompt, `ms` beside the unpruned one in the same minutes; accuracy by kind of picture, and verdicts.

    `against_random` is random choice of as many tokens, or for the same FLOPs, at the same place: before the decoder,
    or before its layer.
    """

    method: str
    keep_ratio: float
    gflop: float | None
    kv_mb: float | None
    ms: dict[str, float | None]
    main: float | None
    small: float | None
    reading: float | None
    against_random: Verdict | Literal[""]
    against_downsample: Verdict | Literal[""]


def summary(
    rows: Sequence[Row], entries: Mapping[tuple[str, str], Entry], budget: Literal["tokens", "flops"] = "tokens"
) -> list[SummaryRow]:
    """The rows at equal tokens, or FLOPs; refused ones are left out."""
    found = []
    for row in rows:
        is_wanted = row.pictures == KINDS[0] and not row.refused and _is_at(row, budget)
        if is_wanted and row.positions == ("compact" if name_of(row.method) == DOWNSAMPLE else "keep"):
            found.append(_row(row, rows, entries, budget))
    return sorted(found, key=lambda row: (-row.keep_ratio, -(row.main or 0) - (row.small or 0) - (row.reading or 0)))


def _is_at(row: Row, budget: str) -> bool:
    """Whether the row belongs to the table of that budget: one before the decoder, or of all tokens, to both."""
    return row.budget == budget or (budget == "flops" and (row.method == FULL or is_before(row.method)))


def opening(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """At `OPENING` of the tokens: all of them, the baselines, and the `BEST` methods that answer most beside these."""
    own = [row for row in rows if row.keep_ratio in (OPENING, 1)]
    is_baseline = [row.method == FULL or name_of(row.method) in BASELINES for row in own]
    best = [row for row, is_known in zip(own, is_baseline, strict=True) if not is_known][:BEST]
    return [row for row, is_known in zip(own, is_baseline, strict=True) if is_known or row in best]


def _row(row: Row, rows: Sequence[Row], entries: Mapping[tuple[str, str], Entry], budget: str) -> SummaryRow:
    same = {
        one.pictures: one.accuracy
        for one in rows
        if (one.method, one.keep_ratio, one.positions, one.budget)
        == (row.method, row.keep_ratio, row.positions, row.budget)
    }
    own = marks_of(None if row.method == FULL else row.method, row.keep_ratio, row.positions, entries)
    return SummaryRow(
        method=row.method,
        keep_ratio=row.keep_ratio,
        gflop=None if row.decoder_gflop is None else (row.tower_gflop or 0) + row.decoder_gflop,
        kv_mb=row.kv_mb,
        ms={"pruned": row.whole_ms, "full": row.full_ms},
        main=same.get("main"),
        small=same.get("small"),
        reading=same.get("reading"),
        against_random=_verdict(own, row, _random_of(row.method), entries),
        against_downsample=_verdict(own, row, _downsample_of(row, rows, budget), entries),
    )


def _random_of(method: str) -> str:
    """Random choice at the place of `method`: the same cut inside the decoder, else before it."""
    return f"{RANDOM_INSIDE}:{method.partition(':')[2]}" if cuts_once_inside(method) else "random"


def _downsample_of(row: Row, rows: Sequence[Row], budget: str) -> str:
    """The smaller picture of as many tokens, or of the same FLOPs."""
    same = [one.method for one in rows if one.budget == budget and one.keep_ratio == row.keep_ratio]
    return next((method for method in same if name_of(method) == DOWNSAMPLE), DOWNSAMPLE)


def _verdict(own: Marks, row: Row, baseline: str, entries: Mapping[tuple[str, str], Entry]) -> Verdict | Literal[""]:
    if row.method in (FULL, baseline):
        return ""
    other = marks_of(baseline, row.keep_ratio, "compact" if name_of(baseline) == DOWNSAMPLE else "keep", entries)
    if not other or len(other) != len(own):
        return ""
    return verdict(*difference_interval(own, other))


def marks_of(text: str | None, keep_ratio: float, positions: str, entries: Mapping[tuple[str, str], Entry]) -> Marks:
    """Of all kinds together, picture by picture."""
    name = Case(text, keep_ratio, positions).name
    own = [entries.get((name, kind)) for kind in KINDS]
    return [right for entry in own if entry is not None for right in entry.right]
