"""Where the tokens that are left stand in the sequence: what a method says, and what becomes of it on a model.

    keep        at their positions, with gaps
    compact     numbered anew, without gaps; not where a position has three parts, time, height and width
    auto        "compact" where it can be had, "keep" elsewhere
    published   what the method's authors do
    calibrated  at their positions, with attention that makes up for the others (RESTORE, `decoder/calibration.py`); for
                methods before the decoder, on attention that adds a mask

"auto" is what the published codes of methods before the decoder and serving engines do, and on LLaVA-1.5-7B it is
better: at 64 tokens 92.2 against 90.6 % of eight benchmarks, and 93.1 % calibrated (RESTORE, ICML 2026).
"""

from __future__ import annotations

from typing import Literal

Place = Literal["keep", "compact", "calibrated"]
Positions = Literal["auto", "keep", "compact", "published", "calibrated"]


def place(wanted: Positions, published: Place, model: str, has_mrope: bool, can_number_anew: bool = True) -> Place:
    """Where a method's tokens stand in a `model`, the one decision of it.

    `has_mrope` says that a position has three parts; `can_number_anew` that the method and the model's layers could do
    with other positions. Raises ValueError for what cannot be had where a position has three parts.
    """
    if wanted == "auto":
        return "compact" if can_number_anew and not has_mrope else "keep"
    chosen: Place = published if wanted == "published" else wanted
    if chosen != "keep" and has_mrope:
        raise ValueError(f'positions="{chosen}" wants one position a token, {model} has three: take positions="keep"')
    return chosen
