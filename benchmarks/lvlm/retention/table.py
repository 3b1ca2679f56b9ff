"""Rows of the table out of what was asked: accuracy and what is left of it, with intervals, by kind of question."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchmarks.lvlm.retention.cases import DOWNSAMPLE, FULL, Case
from benchmarks.lvlm.retention.intervals import interval
from benchmarks.lvlm.retention.journal import MEASURED, Entry
from benchmarks.lvlm.retention.subject import Picture

Marks = Sequence[Sequence[bool]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A method at a share of the tokens on pictures of a kind, or at the FLOPs of that share (`budget`).

    `accuracy` and `retention`, its ratio to that of all tokens, have 95 % intervals. `easy` and `hard` are the
    accuracies on questions that a smaller picture of as many tokens answers and does not (Liao et al. 2025,
    arXiv:2510.07143). `refused` says why there is nothing.
    """

    pictures: str
    method: str
    keep_ratio: float
    positions: str
    budget: str = "tokens"
    asked: int = 0
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    retention: float | None = None
    retention_low: float | None = None
    retention_high: float | None = None
    easy: float | None = None
    hard: float | None = None
    region: float | None = None
    count: float | None = None
    colour: float | None = None
    digit: float | None = None
    number: float | None = None
    word: float | None = None
    tokens: int | None = None
    tower_gflop: float | None = None
    decoder_gflop: float | None = None
    kv_mb: float | None = None
    select_ms: float | None = None
    decoder_ms: float | None = None
    whole_ms: float | None = None
    full_ms: float | None = None
    refused: str = ""


def rows(
    cases: Sequence[Case], asked: Mapping[str, Sequence[Picture]], entries: Mapping[tuple[str, str], Entry]
) -> list[Row]:
    """One for each case and kind of picture that there is an entry of."""
    found = []
    for kind, pictures in asked.items():
        for case in cases:
            entry, costed = (entries.get((case.name, own)) for own in (kind, MEASURED))
            smaller = entries.get((Case(DOWNSAMPLE, case.keep_ratio, "compact").name, kind))
            full = entries.get((FULL, kind))
            if entry is not None and full is not None:
                whole = dataclasses.replace(entry, costs=costed.costs if costed else None)
                found.append(_row(case, pictures, whole, full.right, smaller.right if smaller else None))
    return found


def _row(case: Case, pictures: Sequence[Picture], entry: Entry, full: Marks, smaller: Marks | None) -> Row:
    row = Row(entry.pictures, case.text or FULL, case.keep_ratio, case.positions, case.budget)
    if entry.refused:
        return dataclasses.replace(row, refused=entry.refused)
    kinds = [[one.kind for one in picture.questions] for picture in pictures]
    low, high = interval(entry.right)
    kept_low, kept_high = interval(entry.right, full)
    told = dataclasses.replace(
        row,
        asked=sum(map(len, entry.right)),
        accuracy=share(entry.right),
        accuracy_low=low,
        accuracy_high=high,
        retention=(share(entry.right) or 0) / max(share(full) or 0, 1e-9),
        retention_low=kept_low,
        retention_high=kept_high,
        easy=share(entry.right, smaller, True),
        hard=share(entry.right, smaller, False),
    )
    more: dict[str, float] = _by_kind(entry.right, kinds)
    more |= dataclasses.asdict(entry.costs) if entry.costs else {}
    return dataclasses.replace(told, **more)  # type: ignore[arg-type]


def share(right: Marks, others: Marks | None = None, wanted: bool | None = None) -> float | None:
    """Of the questions of which `others` say what is `wanted`, of all without them."""
    if others is None and wanted is not None:
        return None
    flat = [one for own in right for one in own]
    if others is not None:
        marks = [one for own in others for one in own]
        flat = [one for one, mark in zip(flat, marks, strict=True) if mark == wanted]
    return sum(flat) / len(flat) if flat else None


def _by_kind(right: Marks, kinds: Sequence[Sequence[str]]) -> dict[str, float]:
    found: dict[str, list[bool]] = defaultdict(list)
    for own, names in zip(right, kinds, strict=True):
        for one, name in zip(own, names, strict=True):
            found[name].append(one)
    return {name: sum(own) / len(own) for name, own in found.items()}
