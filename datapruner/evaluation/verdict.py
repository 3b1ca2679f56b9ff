"""One sentence: apply this selection, or keep everything.

A selection is applied where both hold at the 5 % level, corrected over all that were tried: it beats rows drawn at
random at the same budget, or the draw would do; and it is not worse than all rows by the margin. Of several that are,
the one that keeps least is taken, and of those the best.
"""

from __future__ import annotations

from collections.abc import Sequence

from datapruner.evaluation.result import LEVEL, Against, Row
from datapruner.evaluation.settings import ALL, RANDOM


def verdict(rows: Sequence[Row], quality: str, margin: float, sign: int) -> tuple[str | None, str]:
    """The name of what to apply, None for nothing, and the sentence."""
    fit = [row for row in rows if row.is_candidate and row.p_apply is not None and row.p_apply <= LEVEL]
    if fit:
        best = min(fit, key=lambda row: (round(row.share, 6), -sign * row.mean))
        draw, whole = _against(best, RANDOM), _against(best, ALL)
        return best.way, (
            f"Apply {best.way} and keep {percent(best.share)}: with equal steps its {quality} is not worse than that "
            f"of all rows by {margin:g} ({_signed(whole)}), and better than that of rows drawn at random "
            f"({_signed(draw)})."
        )
    return None, f"Keep everything: {_why(rows, quality, margin)}."


def _why(rows: Sequence[Row], quality: str, margin: float) -> str:
    better = [row for row in rows if row.is_candidate and _word(row, RANDOM) == "better"]
    draws = [row for row in rows if row.way == RANDOM and _word(row, ALL) in ("better", "not worse")]
    if better:
        best = min(better, key=lambda row: row.share)
        text = (
            f"no selection is shown to cost less than {margin:g} of {quality} against all rows; where no more than "
            f"{percent(best.share)} can be kept, {best.way} beats a draw ({_signed(_against(best, RANDOM))})"
        )
    else:
        text = "no selection is shown to beat rows drawn at random"
    if draws:
        least = min(draws, key=lambda row: row.share)
        text += f"; a draw of {percent(least.share)} is not worse than all rows by {margin:g}, and needs no scores"
    return text


def percent(share: float) -> str:
    """As in "30 %", with a digit behind the point where it says something."""
    return f"{100 * share:.0f} %" if abs(100 * share - round(100 * share)) < 0.05 else f"{100 * share:.1f} %"


def _signed(against: Against | None) -> str:
    if against is None:
        return "not compared"
    found = against.difference
    return f"{found.mean:+.4f}, 95 % interval {found.low:+.4f} to {found.high:+.4f}"


def _against(row: Row, baseline: str) -> Against | None:
    return next((item for item in row.against if item.baseline == baseline), None)


def _word(row: Row, baseline: str) -> str:
    found = _against(row, baseline)
    return "" if found is None else found.word
