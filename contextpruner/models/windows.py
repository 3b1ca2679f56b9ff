"""Overlapping windows over the tokens of a long document, and one number per token out of several.

A window is a stretch of the document's own tokens with what it hangs on before it: the row that heads its table,
the signatures around its code, the headings above it (`ancestors`), nearest first, up to a quarter of the
room. A window ends where a unit ends, so that every unit that fits is whole in at least one window, and the next
one begins up to `overlap` tokens earlier, where a unit begins. A unit that fits no window is cut through.

Merging gives token t, which stands in the windows w(t), the mean of what they say,

    value(t) = sum over w of weight(w, t) * value(w, t) / sum over w of weight(w, t)

with equal weights ("mean") or with weight 1 + the distance to the nearer end of the window ("centre"), since what a
model says of a token is the better the more it sees on both sides. Either is independent of the order in which
windows are run; a token in one window keeps its value to the last bit, so that a document that fits one window
gets what it gets without windows. The ranking score of a document is the largest of its windows'.

Time and memory are linear: at most 2 * tokens / (3/4 room - overlap) + 1 windows, whatever the units are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from contextpruner.units.unit import Unit, ancestors

Merge = Literal["mean", "centre"]


class Window(NamedTuple):
    """Tokens [start, end) of a document, read behind the stretches [start, end) of tokens in `context`."""

    start: int
    end: int
    context: tuple[tuple[int, int], ...] = ()


def overlapping_windows(
    units: Sequence[Unit], ends: Sequence[int], room: int, overlap: int = 0, *, with_context: bool = True
) -> list[Window]:
    """Windows of at most `room` tokens, those of the context included; a document without tokens has one, too.

    `ends` holds where each unit's tokens end, in ascending order: unit u has the tokens [ends[u - 1], ends[u]).
    Raises ValueError unless `overlap` is at most a quarter of a room of at least 4 tokens.
    """
    if room < 4 or not 0 <= overlap <= room // 4:
        raise ValueError(f"want a room of at least 4 and an overlap of 0 to a quarter of it, got {room} and {overlap}")
    if len(ends) != len(units) or any(after < before for before, after in zip(ends, ends[1:], strict=False)):
        raise ValueError(f"want an ascending end for each of {len(units)} units, got {len(ends)}")
    n_tokens = ends[-1] if units else 0
    if n_tokens <= room:
        return [Window(0, n_tokens)]
    windows: list[Window] = []
    start, sure = 0, room - room // 4
    while True:
        context = _context(units, ends, start, room // 4) if with_context else ()
        limit = start + room - sum(end - begin for begin, end in context)
        if limit >= n_tokens:
            return [*windows, Window(start, n_tokens, context)]
        # the unit that does not fit, and where it begins
        unit = bisect_right(ends, limit)
        begin = ends[unit - 1] if unit else 0
        size = ends[unit] - begin
        is_cut = begin <= start or size > sure
        windows.append(Window(start, limit if is_cut else begin, context))
        if is_cut:
            start = limit - overlap
        else:
            # back by whole units, but never so far that the unit does not fit again
            start = ends[bisect_left(ends, max(begin - overlap, begin + size - sure, start + 1))]


def merge_windows(windows: Sequence[Window], values: Sequence[np.ndarray], how: Merge = "centre") -> np.ndarray:
    """One float32 number per token [tokens], from `values`, float [end - start] of each window's own tokens."""
    if how not in ("mean", "centre"):
        raise ValueError(f"how wants mean or centre, got {how!r}")
    if (got := [len(value) for value in values]) != [window.end - window.start for window in windows]:
        raise ValueError(f"want a value for each token of {len(windows)} windows, got {got[:8]}")
    total = np.zeros(max((window.end for window in windows), default=0))
    weights = np.zeros_like(total)
    for window, value in zip(windows, values, strict=True):
        # float32 times a small integer is exact in float64, and so is the division of a lone product
        weight = np.ones(len(value))
        if how == "centre":
            weight += np.minimum(np.arange(len(value)), np.arange(len(value))[::-1])
        total[window.start : window.end] += weight * value
        weights[window.start : window.end] += weight
    return (total / weights).astype(np.float32)


def _context(units: Sequence[Unit], ends: Sequence[int], start: int, room: int) -> tuple[tuple[int, int], ...]:
    """The tokens of what the unit at `start` hangs on, in the order of the text, `room` of them at most."""
    found: list[tuple[int, int]] = []
    for unit in ancestors(units, bisect_right(ends, start)):
        begin = ends[unit - 1] if unit else 0
        end = min(ends[unit], begin + room)
        room -= end - begin
        if end > begin:
            found.append((begin, end))
        if not room:
            break
    return tuple(sorted(found))
